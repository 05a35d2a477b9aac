"""The position of the pass over all vaults; it is stored, so a restart continues from it."""

from __future__ import annotations

from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_exactly_one

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
    """The pass has compared all owners up to `after_owner`.

    `started_ago` and `listed_ago` are the seconds since it began and since all vaults on the chain
    were last listed (infinity: never).
    """

    after_owner: str
    finished: bool
    started_ago: float
    listed_ago: float


async def read(conn: Connection) -> PassPosition:
    """Return the position of the pass."""
    return await fetch_exactly_one(conn, PassPosition, READ, {})


async def begin(conn: Connection, *, listing: bool = False) -> None:
    """Begin a new pass, whether or not the last one is finished.

    With `listing`, all vaults on the chain are due to be listed again.
    """
    await conn.execute(BEGIN, {"listing": listing})


async def advance(conn: Connection, *, after: str, to: str) -> None:
    """Record that the owners after `after` up to `to` are compared.

    No-op if another replica has recorded it.
    """
    await conn.execute(ADVANCE, {"after": after, "to": to})


async def finish(conn: Connection, *, after: str) -> None:
    """Finish the pass: there is no owner after `after`."""
    await conn.execute(FINISH, {"after": after})


async def listed(conn: Connection) -> None:
    """Record that all vaults on the chain were listed now."""
    await conn.execute(LISTED)
