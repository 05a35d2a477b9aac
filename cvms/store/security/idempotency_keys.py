"""Replies stored by idempotency key, for requests that are sent again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import delete_in_batches, fetch_one, query_for


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReply:
    """The reply to a request; `fingerprint` is the SHA-256 of the request.

    `owner` holds the key; `admin:` and `request:` precede what is no owner.
    """

    owner: str
    key: str
    fingerprint: bytes
    status: int
    content_type: str
    content: bytes


GET = query_for(
    StoredReply,
    """
    SELECT {columns}
    FROM idempotency_keys
    WHERE owner = %(owner)s
      AND key = %(key)s
    """,
)

# A second request with the same key waits here for the first one's transaction to end.
STORE = query_for(
    StoredReply,
    """
    INSERT INTO idempotency_keys ({columns})
    VALUES ({values})
    ON CONFLICT (owner, key) DO NOTHING
    """,
)

PRUNE = """
DELETE FROM idempotency_keys
WHERE (owner, key) IN (
    SELECT owner, key
    FROM idempotency_keys
    WHERE created_at < now() - %(age)s
    ORDER BY created_at
    LIMIT %(limit)s
)
"""


async def get(conn: Connection, owner: str, key: str) -> StoredReply | None:
    """Return the reply to the owner's request with this key, if there is one."""
    return await fetch_one(conn, StoredReply, GET, {"owner": owner, "key": key})


async def store(conn: Connection, reply: StoredReply) -> bool:
    """Store a reply with the effects of this transaction; return False if the key has one."""
    return (await conn.execute(STORE, asdict(reply))).rowcount == 1


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the replies older than `age`; return how many."""
    return await delete_in_batches(conn, PRUNE, {"age": age})
