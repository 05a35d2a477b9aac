"""Where the pass over all vaults stands, in the database: a restart goes on where it was."""

from __future__ import annotations

from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_one

READ = """
SELECT after_owner, finished_at IS NOT NULL AS finished,
       extract(epoch FROM now() - started_at)::FLOAT8 AS started_ago,
       coalesce(extract(epoch FROM now() - listed_at), 'infinity')::FLOAT8 AS listed_ago
FROM reconciliation_pass
"""

BEGIN = """
UPDATE reconciliation_pass
SET after_owner = '', started_at = now(), finished_at = NULL,
    listed_at = CASE WHEN %(listing)s THEN NULL ELSE listed_at END
"""

ADVANCE = """
UPDATE reconciliation_pass
SET after_owner = %(to)s
WHERE after_owner = %(after)s
  AND finished_at IS NULL
"""

FINISH = """
UPDATE reconciliation_pass
SET after_owner = '', finished_at = now()
WHERE after_owner = %(after)s
  AND finished_at IS NULL
"""

LISTED = """
UPDATE reconciliation_pass
SET listed_at = now()
"""


@dataclass(frozen=True, slots=True)
class PassPosition:
    """Owners up to `after_owner` are compared. Seconds since the pass began, and since all of the
    chain's vaults were listed (infinity: never).
    """

    after_owner: str
    finished: bool
    started_ago: float
    listed_ago: float


async def read(conn: Connection) -> PassPosition:
    """Where the pass stands."""
    found = await fetch_one(conn, PassPosition, READ, {})
    assert found is not None
    return found


async def begin(conn: Connection, *, listing: bool = False) -> None:
    """Begin a new pass, whether or not the last one is through; with `listing`, all of the chain's
    vaults are to be listed as if they never were.
    """
    await conn.execute(BEGIN, {"listing": listing})


async def advance(conn: Connection, *, after: str, to: str) -> None:
    """The owners behind `after` up to `to` are compared; no-op if another replica has said so."""
    await conn.execute(ADVANCE, {"after": after, "to": to})


async def finish(conn: Connection, *, after: str) -> None:
    """There is nobody behind `after`."""
    await conn.execute(FINISH, {"after": after})


async def listed(conn: Connection) -> None:
    """All of the chain's vaults were listed now."""
    await conn.execute(LISTED)
