"""Nonces: each is issued to one owner and takes effect once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cvms.errors import NonceExpired, NonceUnknown, NonceUsed
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_one, fetch_value

ISSUE = """
INSERT INTO nonces (nonce, owner, expires_at)
VALUES (%(nonce)s, %(owner)s, clock_timestamp() + %(lifetime)s)
RETURNING expires_at
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

STATUS = """
SELECT used_at IS NOT NULL AS used,
       expires_at <= clock_timestamp() AS expired
FROM nonces
WHERE nonce = %(nonce)s
  AND owner = %(owner)s
"""

PRUNE = """
DELETE FROM nonces
WHERE expires_at < now() - INTERVAL '1 day'
"""


@dataclass(frozen=True, slots=True)
class _Status:
    used: bool
    expired: bool


async def issue(conn: Connection, owner: str, nonce: str, lifetime: timedelta) -> datetime:
    """Store a nonce issued to `owner`; return when it expires, by the database's clock."""
    expires_at: datetime = await fetch_value(
        conn, ISSUE, {"nonce": nonce, "owner": owner, "lifetime": lifetime}
    )
    return expires_at


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


async def prune(conn: Connection) -> int:
    """Delete the nonces that expired more than a day ago; return how many."""
    return (await conn.execute(PRUNE)).rowcount
