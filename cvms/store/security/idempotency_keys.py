"""Idempotency keys: the outcome of a request, kept with its effect, for whoever asks again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_one

GET = """
SELECT owner, key, fingerprint, status, content_type, content
FROM idempotency_keys
WHERE owner = %(owner)s
  AND key = %(key)s
"""

# Whoever comes second with a key waits here for the first one's transaction to end.
STORE = """
INSERT INTO idempotency_keys (owner, key, fingerprint, status, content_type, content)
VALUES (%(owner)s, %(key)s, %(fingerprint)s, %(status)s, %(content_type)s, %(content)s)
ON CONFLICT (owner, key) DO NOTHING
"""

PRUNE = """
DELETE FROM idempotency_keys
WHERE created_at < now() - %(age)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReply:
    """The answer to the request of which `fingerprint` is the SHA-256."""

    owner: str
    key: str
    fingerprint: bytes
    status: int
    content_type: str
    content: bytes


async def get(conn: Connection, owner: str, key: str) -> StoredReply | None:
    """What was answered to the owner's request with this key."""
    return await fetch_one(conn, StoredReply, GET, {"owner": owner, "key": key})


async def store(conn: Connection, kept: StoredReply) -> bool:
    """Keep an answer with the effects of this transaction; False if the key has one already."""
    cursor = await conn.execute(STORE, asdict(kept))
    return cursor.rowcount == 1


async def prune(conn: Connection, age: timedelta) -> int:
    """Forget answers older than `age`; returns how many."""
    cursor = await conn.execute(PRUNE, {"age": age})
    return cursor.rowcount
