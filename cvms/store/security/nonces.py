"""Nonces: each is given to one owner and takes effect once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cvms.errors import NonceExpired, NonceUnknown, NonceUsed
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_one

ISSUE = """
INSERT INTO nonces (nonce, owner, expires_at)
VALUES (%(nonce)s, %(owner)s, %(expires_at)s)
"""

# The row lock makes concurrent consumers take turns; whoever comes second finds used_at set.
CONSUME = """
UPDATE nonces
SET used_at = clock_timestamp()
WHERE nonce = %(nonce)s
  AND owner = %(owner)s
  AND used_at IS NULL
  AND expires_at > clock_timestamp()
"""

STANDING = """
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
class _Standing:
    used: bool
    expired: bool


async def issue(conn: Connection, owner: str, nonce: str, expires_at: datetime) -> None:
    """Remember that `nonce` was given to `owner`, good until `expires_at`."""
    await conn.execute(ISSUE, {"nonce": nonce, "owner": owner, "expires_at": expires_at})


async def consume(conn: Connection, owner: str, nonce: str) -> None:
    """Use the nonce up; of any number of equal calls one returns.

    Raises NonceUnknown (also when it is another owner's), NonceUsed or NonceExpired. It is unused
    again if the transaction around it rolls back.
    """
    cursor = await conn.execute(CONSUME, {"nonce": nonce, "owner": owner})
    if cursor.rowcount == 0:
        await check(conn, owner, nonce)
        raise NonceExpired  # in the moment between the two statements


async def check(conn: Connection, owner: str, nonce: str) -> None:
    """Raise what `consume` would, without using the nonce up."""
    standing = await fetch_one(conn, _Standing, STANDING, {"nonce": nonce, "owner": owner})
    if standing is None:
        raise NonceUnknown
    if standing.used:
        raise NonceUsed
    if standing.expired:
        raise NonceExpired


async def prune(conn: Connection) -> int:
    """Delete the nonces that expired more than a day ago; returns how many."""
    cursor = await conn.execute(PRUNE)
    return cursor.rowcount
