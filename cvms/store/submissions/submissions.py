"""The transactions that the service built, and how far each has come.

built → pending → submitted ⇄ confirmed → finalized
            └──────────┴──────────┴→ failed | expired | quarantined
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from cvms.errors import Conflict, UnknownTransaction
from cvms.store.messaging.leader_notifications import SUBMIT, notify_leader
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_one


class State(StrEnum):
    """Where a submission is. The last four are final."""

    BUILT = "built"  # handed to a wallet, signed by nobody that we know of
    PENDING = "pending"  # signed and stored, not yet sent
    # Sent at least once. With a slot and an error: it failed in a block that is not final yet.
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"  # succeeded in a block that is not final yet: a fork may take it back
    FINALIZED = "finalized"
    FAILED = "failed"  # it failed, and its block is final
    EXPIRED = "expired"  # its block hash is too old, and no final block holds it
    QUARANTINED = "quarantined"  # nobody can know what became of it; a person decides


RECORD_BUILT = """
INSERT INTO submissions (
    message_hash, kind, owner, state, message, last_valid_block_height, amount, since_slot
)
VALUES (
    %(message_hash)s, %(kind)s, %(owner)s, 'built', %(message)s, %(last_valid_block_height)s,
    %(amount)s, %(since_slot)s
)
ON CONFLICT (message_hash) DO UPDATE SET updated_at = now()
WHERE submissions.state = 'built'
RETURNING message_hash, kind, owner, state, signature, message, wire, last_valid_block_height,
          amount, error, slot, created_at, updated_at
"""

RECORD_SIGNED = """
INSERT INTO submissions (
    message_hash, kind, owner, state, signature, message, wire, last_valid_block_height, amount,
    owners, since_slot, signed_at
)
VALUES (
    %(message_hash)s, %(kind)s, %(owner)s, 'pending', %(signature)s, %(message)s, %(wire)s,
    %(last_valid_block_height)s, %(amount)s, %(owners)s, %(since_slot)s, now()
)
ON CONFLICT (message_hash) DO NOTHING
RETURNING message_hash, kind, owner, state, signature, message, wire, last_valid_block_height,
          amount, error, slot, created_at, updated_at
"""

ATTACH_SIGNATURE = """
UPDATE submissions
SET state = 'pending',
    signature = %(signature)s,
    wire = %(wire)s,
    signed_at = now(),
    updated_at = now()
WHERE message_hash = %(message_hash)s
  AND state = 'built'
RETURNING message_hash, kind, owner, state, signature, message, wire, last_valid_block_height,
          amount, error, slot, created_at, updated_at
"""

GET_BY_SIGNATURE = """
SELECT message_hash, kind, owner, state, signature, message, wire, last_valid_block_height, amount,
       error, slot, created_at, updated_at
FROM submissions
WHERE signature = %(signature)s
"""

GET_BY_MESSAGE = """
SELECT message_hash, kind, owner, state, signature, message, wire, last_valid_block_height, amount,
       error, slot, created_at, updated_at
FROM submissions
WHERE message_hash = %(message_hash)s
"""

# Whoever looks for the same waits here until the other's transaction has ended.
TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))"

FIND_PENDING = """
SELECT message_hash, kind, owner, state, signature, message, wire, last_valid_block_height, amount,
       error, slot, created_at, updated_at
FROM submissions
WHERE state IN ('pending', 'submitted')
  AND kind = %(kind)s
  AND (owner = %(owner)s OR %(owner)s = ANY(owners))
LIMIT 1
"""

PRUNE_BUILT = """
DELETE FROM submissions
WHERE state = 'built'
  AND created_at < now() - %(age)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A transaction by the SHA-256 of its message; `wire` is the signed transaction to send.

    `error` is what the program or the chain answered, `slot` where it landed.
    """

    message_hash: bytes
    kind: str
    owner: str
    state: State
    signature: str | None
    message: bytes
    wire: bytes | None
    last_valid_block_height: int
    amount: int | None
    error: dict[str, Any] | None
    slot: int | None
    created_at: datetime
    updated_at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))


async def record_built(
    conn: Connection,
    *,
    message_hash: bytes,
    kind: str,
    owner: str,
    message: bytes,
    last_valid_block_height: int,
    since_slot: int,
    amount: int | None = None,
) -> Submission:
    """Remember a message handed out to be signed; it can only be in blocks after `since_slot`.

    Built twice it is one row. Raises Conflict when that message is signed and on its way already.
    """
    params = {
        "message_hash": message_hash,
        "kind": kind,
        "owner": owner,
        "message": message,
        "last_valid_block_height": last_valid_block_height,
        "amount": amount,
        "since_slot": since_slot,
    }
    row = await fetch_one(conn, Submission, RECORD_BUILT, params)
    if row is None:
        raise Conflict("the same transaction has been submitted already")
    return row


async def record_signed(
    conn: Connection,
    *,
    message_hash: bytes,
    kind: str,
    owner: str,
    message: bytes,
    signature: str,
    wire: bytes,
    last_valid_block_height: int,
    since_slot: int,
    amount: int | None = None,
    owners: Sequence[str] = (),
) -> Submission:
    """Store, as pending, a transaction that the service alone has signed, before its first send; it
    can only be in blocks after `since_slot`.

    `owners` are those whose vaults it is about where they are several. Raises Conflict when the
    same message is there already: it can have only one effect.
    """
    params = {
        "message_hash": message_hash,
        "kind": kind,
        "owner": owner,
        "message": message,
        "signature": signature,
        "wire": wire,
        "last_valid_block_height": last_valid_block_height,
        "amount": amount,
        "owners": list(owners),
        "since_slot": since_slot,
    }
    row = await fetch_one(conn, Submission, RECORD_SIGNED, params)
    if row is None:
        raise Conflict("the same transaction has been submitted already")
    await notify_leader(conn, SUBMIT)
    return row


async def attach_signature(
    conn: Connection, *, message_hash: bytes, signature: str, wire: bytes
) -> Submission:
    """Store the signed bytes of a built message: built → pending.

    The same bytes again change nothing and give the row as it is now. Raises UnknownTransaction
    when the message was never built here, Conflict when other bytes were signed before.
    """
    params = {"message_hash": message_hash, "signature": signature, "wire": wire}
    attached = await fetch_one(conn, Submission, ATTACH_SIGNATURE, params)
    if attached is not None:
        await notify_leader(conn, SUBMIT)
        return attached
    there = await get_by_message(conn, message_hash)
    if there is None:
        raise UnknownTransaction("this service did not build the transaction")
    if (there.signature, there.wire) != (signature, wire):
        raise Conflict("the transaction was submitted before with other signatures")
    return there


async def get_by_signature(conn: Connection, signature: str) -> Submission | None:
    """The submission with this first signature."""
    return await fetch_one(conn, Submission, GET_BY_SIGNATURE, {"signature": signature})


async def get_by_message(conn: Connection, message_hash: bytes) -> Submission | None:
    """The submission of this message."""
    return await fetch_one(conn, Submission, GET_BY_MESSAGE, {"message_hash": message_hash})


async def find_pending(conn: Connection, kind: str, owner: str) -> Submission | None:
    """A submission of this kind and owner that has not landed yet.

    Until this database transaction ends nobody else gets an answer for the same kind and owner, so
    that of several who find none only one can add one.
    """
    await conn.execute(TAKE_TURNS, {"key": f"submission:{kind}:{owner}"})
    return await fetch_one(conn, Submission, FIND_PENDING, {"kind": kind, "owner": owner})


async def prune_built(conn: Connection, age: timedelta) -> int:
    """Delete what was built longer than `age` ago and never signed; returns how many."""
    cursor = await conn.execute(PRUNE_BUILT, {"age": age})
    return cursor.rowcount
