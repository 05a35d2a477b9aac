"""Nonces: each is issued to one owner and takes effect once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cvms.errors import NonceExpired, NonceUnknown, NonceUsed
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, delete_in_batches, fetch_one

ISSUE = """
INSERT INTO nonces (nonce, owner, expires_at)
SELECT nonce, owner, clock_timestamp() + lifetime
FROM unnest(%(nonce)s::TEXT[], %(owner)s::TEXT[], %(lifetime)s::INTERVAL[])
  AS new (nonce, owner, lifetime)
RETURNING nonce, expires_at
"""

# The row lock makes concurrent consumers take turns; the second one finds used_at set.
CONSUME = """
UPDATE nonces
SET used_at = clock_timestamp()
WHERE nonce = %(nonce)s
  AND owner = %(owner)s
  AND used_at IS NULL
  AND expires_at > clock_timestamp()
"""

USE_UP_ALL = """
UPDATE nonces
SET used_at = clock_timestamp()
WHERE used_at IS NULL
  AND expires_at > clock_timestamp()
"""

STATUS = """
SELECT used_at IS NOT NULL AS used,
       expires_at <= clock_timestamp() AS expired
FROM nonces
WHERE nonce = %(nonce)s
  AND owner = %(owner)s
"""

PRUNE = """
DELETE FROM nonces
WHERE nonce IN (
    SELECT nonce
    FROM nonces
    WHERE expires_at < now() - INTERVAL '1 day'
    ORDER BY expires_at
    LIMIT %(limit)s
)
"""


@dataclass(frozen=True, slots=True)
class NewNonce:
    """A nonce to be issued to `owner`."""

    owner: str
    nonce: str
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class _Status:
    used: bool
    expired: bool


async def issue(conn: Connection, new: Sequence[NewNonce]) -> list[datetime]:
    """Store nonces; return when each expires, by the database's clock."""
    cursor = await conn.execute(ISSUE, by_column(new, ("nonce", "owner", "lifetime")))
    expires_at: dict[str, datetime] = dict(await cursor.fetchall())
    return [expires_at[each.nonce] for each in new]


async def consume(conn: Connection, owner: str, nonce: str) -> None:
    """Use the nonce up; of any number of equal calls one succeeds.

    Raises NonceUnknown (also if it is another owner's), NonceUsed or NonceExpired. The nonce is
    unused again if the surrounding transaction rolls back.
    """
    cursor = await conn.execute(CONSUME, {"nonce": nonce, "owner": owner})
    if cursor.rowcount == 0:
        await check(conn, owner, nonce)
        raise NonceExpired  # between the two statements


async def check(conn: Connection, owner: str, nonce: str) -> None:
    """Raise what `consume` would, without using the nonce up."""
    status = await fetch_one(conn, _Status, STATUS, {"nonce": nonce, "owner": owner})
    if status is None:
        raise NonceUnknown
    if status.used:
        raise NonceUsed
    if status.expired:
        raise NonceExpired


async def use_up_all(conn: Connection) -> None:
    """Use up every nonce, so that its owner needs a new one."""
    await conn.execute(USE_UP_ALL)


async def prune(conn: Connection) -> int:
    """Delete the nonces that expired more than a day ago; return how many."""
    return await delete_in_batches(conn, PRUNE, {})
