"""The transactions that the service built, and the state of each.

built → pending → submitted ⇄ confirmed → finalized
            └──────────┴──────────┴→ failed | expired | quarantined
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from cvms.errors import Conflict, UnknownTransaction
from cvms.store.messaging.leader_notifications import SUBMIT, notify_leader
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_one, query_for

SIGNATURE_BYTES = 64


class State(StrEnum):
    """The state of a submission. The last four are terminal."""

    BUILT = "built"  # returned to a wallet; the service has no signature yet
    PENDING = "pending"  # signed and stored, not yet sent
    # Sent at least once. With a slot and an error: it failed in a block that is not final yet.
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"  # succeeded in a block that is not final yet: a fork may drop it
    FINALIZED = "finalized"
    FAILED = "failed"  # it failed in a final block
    EXPIRED = "expired"  # its blockhash has expired, and no final block contains it
    QUARANTINED = "quarantined"  # its outcome cannot be known; a person decides


@dataclass(frozen=True, slots=True)
class Origin:
    """The request that a submission comes from: its id, and the context of its trace."""

    request_id: str | None = None
    traceparent: str | None = None


NO_REQUEST = Origin()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A transaction, keyed by the SHA-256 of its message; `wire` is the signed transaction.

    `error` is the program's or the chain's, `slot` the block it is in. `landed_signature` is the
    one under which the message landed if the fee payer has signed it twice. `request_id` is that of
    the request that submitted it, or else that asked for it; `traceparent` is of its trace.
    """

    message_hash: bytes
    kind: str
    owner: str
    state: State
    signature: str | None
    landed_signature: str | None
    message: bytes
    wire: bytes | None
    last_valid_block_height: int
    amount: int | None
    error: dict[str, Any] | None
    slot: int | None
    created_at: datetime
    updated_at: datetime
    request_id: str | None
    traceparent: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))


RECORD_BUILT = query_for(
    Submission,
    """
    INSERT INTO submissions (
        message_hash, kind, owner, state, message, last_valid_block_height, amount, since_slot,
        request_id, traceparent
    )
    VALUES (
        %(message_hash)s, %(kind)s, %(owner)s, 'built', %(message)s, %(last_valid_block_height)s,
        %(amount)s, %(since_slot)s, %(request_id)s, %(traceparent)s
    )
    ON CONFLICT (message_hash) DO UPDATE SET updated_at = now()
    WHERE submissions.state = 'built'
    RETURNING {columns}
    """,
)

RECORD_SIGNED = query_for(
    Submission,
    """
    INSERT INTO submissions (
        message_hash, kind, owner, state, signature, message, wire, last_valid_block_height, amount,
        owners, since_slot, signed_at, request_id, traceparent
    )
    VALUES (
        %(message_hash)s, %(kind)s, %(owner)s, 'pending', %(signature)s, %(message)s, %(wire)s,
        %(last_valid_block_height)s, %(amount)s, %(owners)s, %(since_slot)s, now(),
        %(request_id)s, %(traceparent)s
    )
    ON CONFLICT (message_hash) DO NOTHING
    RETURNING {columns}
    """,
)

ATTACH_SIGNATURE = query_for(
    Submission,
    """
    UPDATE submissions
    SET state = 'pending',
        signature = %(signature)s,
        wire = %(wire)s,
        last_valid_block_height = coalesce(
            %(last_valid_block_height)s, last_valid_block_height
        ),
        signed_at = now(),
        updated_at = now(),
        request_id = coalesce(%(request_id)s, request_id),
        traceparent = coalesce(traceparent, %(traceparent)s)
    WHERE message_hash = %(message_hash)s
      AND state = 'built'
    RETURNING {columns}
    """,
)

GET_BY_SIGNATURE = query_for(
    Submission,
    """
    SELECT {columns}
    FROM submissions
    WHERE signature = %(signature)s
    """,
)

GET_BY_MESSAGE = query_for(
    Submission,
    """
    SELECT {columns}
    FROM submissions
    WHERE message_hash = %(message_hash)s
    """,
)

# What was submitted with this message, which a wallet may have changed: it follows the signatures.
GET_SUBMITTED = query_for(
    Submission,
    """
    SELECT {columns}
    FROM submissions
    WHERE length(wire) > 0
      AND sha256(substr(wire, 2 + 64 * get_byte(wire, 0))) = %(submitted)s
    """,
)

# The newest of the recent plans for one of these owners that hold this data, submitted or not; and
# what was submitted with the message, as of the same moment.
GET_PLANS = query_for(
    Submission,
    """
    SELECT {columns}
    FROM submissions
    WHERE length(wire) > 0
      AND sha256(substr(wire, 2 + 64 * get_byte(wire, 0))) = %(submitted)s
    UNION ALL (
        SELECT {columns}
        FROM submissions
        WHERE owner = ANY(%(owners)s)
          AND created_at > now() - INTERVAL '10 minutes'
          AND position(%(data)s::BYTEA IN message) > 0
        ORDER BY created_at DESC, message_hash
        LIMIT 100
    )
    """,
)

# A second caller with the same key waits here until the first one's transaction has ended.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))"

FIND_PENDING = query_for(
    Submission,
    """
    SELECT {columns}
    FROM submissions
    WHERE state IN ('pending', 'submitted')
      AND kind = %(kind)s
      AND (owner = %(owner)s OR %(owner)s = ANY(owners))
    LIMIT 1
    """,
)

TRACEPARENTS = """
SELECT signature, traceparent
FROM submissions
WHERE signature = ANY(%(signatures)s)
  AND traceparent IS NOT NULL
"""

PRUNE_BUILT = """
DELETE FROM submissions
WHERE state = 'built'
  AND created_at < now() - %(age)s
"""


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
    origin: Origin = NO_REQUEST,
) -> Submission:
    """Store a message that is returned to be signed; its block can only be after `since_slot`.

    The same message built twice is one row. Raises Conflict if it is already signed.
    """
    params = {
        "message_hash": message_hash,
        "kind": kind,
        "owner": owner,
        "message": message,
        "last_valid_block_height": last_valid_block_height,
        "amount": amount,
        "since_slot": since_slot,
        "request_id": origin.request_id,
        "traceparent": origin.traceparent,
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
    origin: Origin = NO_REQUEST,
) -> Submission:
    """Store, as pending, a transaction that only the service signs, before it is first sent.

    Its block can only be after `since_slot`. `owners` are the owners of the vaults it concerns, if
    there are several. Raises Conflict if the same message is stored already: it can have only one
    effect.
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
        "request_id": origin.request_id,
        "traceparent": origin.traceparent,
    }
    row = await fetch_one(conn, Submission, RECORD_SIGNED, params)
    if row is None:
        raise Conflict("the same transaction has been submitted already")
    await notify_leader(conn, SUBMIT)
    return row


async def attach_signature(
    conn: Connection,
    *,
    message_hash: bytes,
    signature: str,
    wire: bytes,
    last_valid_block_height: int | None = None,
    origin: Origin = NO_REQUEST,
) -> Submission:
    """Store the signed bytes of a built message: built → pending.

    With `last_valid_block_height` the wallet has changed the message: the bytes are of another one,
    which may land until then. Each plan is submitted once, and so are the bytes: the same again
    change nothing; the row is returned as it is now. Raises UnknownTransaction if the message was
    never built here, and Conflict if other bytes were stored before.
    """
    params = {
        "message_hash": message_hash,
        "signature": signature,
        "wire": wire,
        "last_valid_block_height": last_valid_block_height,
        "request_id": origin.request_id,
        "traceparent": origin.traceparent,
    }
    if last_valid_block_height is not None:
        # Equal plans: an equal request may be about to store these bytes for another one of them.
        submitted = hashlib.sha256(wire[1 + SIGNATURE_BYTES * wire[0] :]).digest()
        await conn.execute(LOCK, {"key": f"submitted:{submitted.hex()}"})
        stored = await fetch_one(conn, Submission, GET_SUBMITTED, {"submitted": submitted})
        if stored is not None:
            return stored
    attached = await fetch_one(conn, Submission, ATTACH_SIGNATURE, params)
    if attached is not None:
        await notify_leader(conn, SUBMIT)
        return attached
    stored = await get_by_message(conn, message_hash)
    if stored is None:
        raise UnknownTransaction("this service did not build the transaction")
    if (stored.signature, stored.wire) != (signature, wire):
        raise Conflict("the transaction was submitted before with other signatures")
    return stored


async def get_by_signature(conn: Connection, signature: str) -> Submission | None:
    """Return the submission with this first signature."""
    return await fetch_one(conn, Submission, GET_BY_SIGNATURE, {"signature": signature})


async def get_by_message(conn: Connection, message_hash: bytes) -> Submission | None:
    """Return the submission of this message."""
    return await fetch_one(conn, Submission, GET_BY_MESSAGE, {"message_hash": message_hash})


async def get_plans(
    conn: Connection, *, owners: Sequence[str], data: bytes, submitted: bytes
) -> list[Submission]:
    """Return recent plans for one of the owners whose message holds the data, the newest first.

    What was submitted with the message of which `submitted` is the hash is among them.
    """
    params = {"owners": list(owners), "data": data, "submitted": submitted}
    return await fetch_all(conn, Submission, GET_PLANS, params)


async def find_pending(conn: Connection, kind: str, owner: str) -> Submission | None:
    """Return a submission of this kind and owner that is not in a block yet.

    Other callers with the same kind and owner wait until this database transaction ends, so of
    several that find none only one can add one.
    """
    await conn.execute(LOCK, {"key": f"submission:{kind}:{owner}"})
    return await fetch_one(conn, Submission, FIND_PENDING, {"kind": kind, "owner": owner})


async def traceparents(conn: Connection, signatures: Sequence[str]) -> dict[str, str]:
    """Return the trace contexts of those of these transactions that have one, by signature."""
    cursor = await conn.execute(TRACEPARENTS, {"signatures": list(signatures)})
    return dict(await cursor.fetchall())


async def prune_built(conn: Connection, age: timedelta) -> int:
    """Delete the messages built longer than `age` ago and never signed; return how many."""
    return (await conn.execute(PRUNE_BUILT, {"age": age})).rowcount
