"""Proposals of multisig withdrawals: their approvals, transaction and signatures.

A change names the version of the proposal on which it was decided. The second change to the same
version has no effect, and its caller decides again on the current version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_column, fetch_one, fetch_value
from cvms.store.submissions import submissions

ADD = """
INSERT INTO multisig_proposals (id, owner, amount, threshold, signers, slot, expires_at)
VALUES (
    %(id)s, %(owner)s, %(amount)s, %(threshold)s, %(signers)s, %(slot)s,
    clock_timestamp() + %(lifetime)s
)
"""

# The vault's row counts only if it is newer than the multisig that the proposal was made for.
CANCELLED = """p.cancelled_at IS NOT NULL OR coalesce(
           v.slot > p.slot AND NOT (
               v.multisig_threshold = p.threshold
               AND v.state -> 'multisig_signers' @> to_jsonb(p.signers)
               AND jsonb_array_length(v.state -> 'multisig_signers') = cardinality(p.signers)
           ),
           FALSE
       )"""

GET = f"""
SELECT p.id, p.owner, p.amount, p.threshold, p.signers, p.slot, p.version, p.created_at,
       p.expires_at,
       p.expires_at <= clock_timestamp() AS expired,
       {CANCELLED} AS cancelled,
       ARRAY(
           SELECT signer
           FROM multisig_approvals
           WHERE proposal = p.id
           ORDER BY approved_at, signer
       ) AS approvers,
       ARRAY(
           SELECT approved_at
           FROM multisig_approvals
           WHERE proposal = p.id
           ORDER BY approved_at, signer
       ) AS approved_at,
       p.message_hash, t.message, t.last_valid_block_height,
       ARRAY(
           SELECT signer
           FROM multisig_signatures
           WHERE message_hash = p.message_hash
           ORDER BY signer
       ) AS cosigners,
       ARRAY(
           SELECT signature
           FROM multisig_signatures
           WHERE message_hash = p.message_hash
           ORDER BY signer
       ) AS signatures,
       s.state AS submission, s.signature
FROM multisig_proposals p
LEFT JOIN multisig_transactions t ON t.message_hash = p.message_hash
LEFT JOIN submissions s ON s.message_hash = p.message_hash
LEFT JOIN vaults v ON v.owner = p.owner
WHERE p.id = %(id)s
"""  # noqa: S608 - constants

BY_MESSAGE = """
SELECT proposal
FROM multisig_transactions
WHERE message_hash = %(message_hash)s
"""

# Of the proposals that one of these signers takes part in, those whose transaction holds this data.
BY_DATA = """
SELECT p.id
FROM multisig_proposals p
JOIN multisig_transactions t ON t.message_hash = p.message_hash
WHERE p.expires_at > clock_timestamp()
  AND p.cancelled_at IS NULL
  AND p.signers && %(signers)s::TEXT[]
  AND position(%(data)s::BYTEA IN t.message) > 0
ORDER BY p.created_at, p.id
LIMIT 500
"""

MESSAGES = """
SELECT message_hash, message
FROM multisig_transactions
WHERE proposal = %(id)s
"""

# One whose transaction has landed counts again if a fork drops it.
UNFINISHED = f"""
SELECT p.id
FROM multisig_proposals p
LEFT JOIN submissions s ON s.message_hash = p.message_hash
LEFT JOIN vaults v ON v.owner = p.owner
WHERE p.owner = %(owner)s
  AND p.expires_at > clock_timestamp()
  AND s.state IS DISTINCT FROM 'confirmed'
  AND s.state IS DISTINCT FROM 'finalized'
  AND NOT ({CANCELLED})
ORDER BY p.created_at, p.id
"""  # noqa: S608 - constants

# The row lock serializes changes to the same proposal.
LOCK = """
UPDATE multisig_proposals
SET version = version + 1
WHERE id = %(id)s
  AND version = %(version)s
  AND cancelled_at IS NULL
  AND expires_at > clock_timestamp()
"""

APPROVE = """
INSERT INTO multisig_approvals (proposal, signer)
VALUES (%(id)s, %(signer)s)
"""

CANCEL = """
UPDATE multisig_proposals
SET cancelled_at = clock_timestamp()
WHERE id = %(id)s
"""

DROP_SIGNATURES = """
DELETE FROM multisig_signatures
WHERE message_hash IN (
    SELECT message_hash
    FROM multisig_transactions
    WHERE proposal = %(id)s
)
"""

# Two equal proposals may give the same message; only one of them can have it.
SET_TRANSACTION = """
WITH built AS (
    INSERT INTO multisig_transactions (message_hash, proposal, message, last_valid_block_height)
    VALUES (%(message_hash)s, %(id)s, %(message)s, %(last_valid_block_height)s)
    ON CONFLICT (message_hash) DO NOTHING
    RETURNING message_hash, proposal
)
UPDATE multisig_proposals
SET message_hash = built.message_hash
FROM built
WHERE id = built.proposal
"""

SIGN = """
INSERT INTO multisig_signatures (message_hash, signer, signature)
SELECT %(message_hash)s, signer, signature
FROM unnest(%(signers)s::TEXT[], %(signatures)s::BYTEA[]) AS given (signer, signature)
ON CONFLICT (message_hash, signer) DO NOTHING
"""

PRUNE = """
DELETE FROM multisig_proposals
WHERE expires_at < now() - %(age)s
"""


class ProposalState(StrEnum):
    """The state of a proposal. The last three are terminal, but a fork may undo `executed`."""

    OPEN = "open"  # fewer approvals than the threshold
    APPROVED = "approved"  # enough approvals; no signature of the transaction yet
    COLLECTING = "collecting"  # some signatures
    SUBMITTED = "submitted"  # all signatures; the transaction is submitted
    EXECUTED = "executed"  # the transaction has landed
    EXPIRED = "expired"  # not submitted in time
    CANCELLED = "cancelled"  # the vault's signers or threshold have changed on chain


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """The message of a transaction, without its version, which its hash tells."""

    message_hash: bytes
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTransaction:
    """The one transaction of a proposal that may still land, with its signatures so far.

    `submission` is its state once all have signed it.
    """

    message_hash: bytes
    message: bytes
    last_valid_block_height: int
    signatures: Mapping[str, bytes]
    submission: submissions.State | None
    signature: str | None

    @property
    def final(self) -> bool:
        """True if it has been submitted, and has neither failed nor expired."""
        ended = (submissions.State.FAILED, submissions.State.EXPIRED)
        return self.submission is not None and self.submission not in ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A proposal as it is now; `approvals` by signer, earliest first.

    `slot` is where the vault's multisig was read, `transaction` the newest one built.
    """

    id: UUID
    owner: str
    amount: int
    threshold: int
    signers: tuple[str, ...]
    slot: int
    version: int
    created_at: datetime
    expires_at: datetime
    expired: bool
    cancelled: bool
    approvals: Mapping[str, datetime]
    transaction: LiveTransaction | None

    @property
    def state(self) -> ProposalState:
        """The state: a landed transaction outweighs expiry and later changes of the multisig."""
        live = self.transaction
        if live is not None and live.final:
            landed = (submissions.State.CONFIRMED, submissions.State.FINALIZED)
            return ProposalState.EXECUTED if live.submission in landed else ProposalState.SUBMITTED
        if self.cancelled:
            return ProposalState.CANCELLED
        if self.expired:
            return ProposalState.EXPIRED
        if len(self.approvals) < self.threshold:
            return ProposalState.OPEN
        signed = live is not None and live.submission is None and live.signatures
        return ProposalState.COLLECTING if signed else ProposalState.APPROVED


async def add(
    conn: Connection,
    *,
    id: UUID,  # noqa: A002 - the column's name
    owner: str,
    amount: int,
    threshold: int,
    signers: Sequence[str],
    slot: int,
    lifetime: timedelta,
) -> None:
    """Store a new proposal that expires after `lifetime`."""
    params = {
        "id": id,
        "owner": owner,
        "amount": amount,
        "threshold": threshold,
        "signers": list(signers),
        "slot": slot,
        "lifetime": lifetime,
    }
    await conn.execute(ADD, params)


async def get(conn: Connection, proposal: UUID) -> Proposal | None:
    """Return the proposal, all of it as of one moment."""
    return await fetch_one(conn, _proposal, GET, {"id": proposal})


async def by_message(conn: Connection, message_hash: bytes) -> UUID | None:
    """Return the proposal for which this message was built, even if a newer one was built since."""
    proposal: UUID | None = await fetch_value(conn, BY_MESSAGE, {"message_hash": message_hash})
    return proposal


async def by_data(conn: Connection, *, signers: Sequence[str], data: bytes) -> list[UUID]:
    """Return proposals of these signers, the oldest first, whose transaction holds the data."""
    return await fetch_column(conn, BY_DATA, {"signers": list(signers), "data": data})


async def messages(conn: Connection, proposal: UUID) -> list[StoredMessage]:
    """Return the messages of all transactions that the proposal has had."""
    return await fetch_all(conn, StoredMessage, MESSAGES, {"id": proposal})


async def unfinished(conn: Connection, owner: str) -> list[UUID]:
    """Return the proposals of the owner that are neither executed, nor expired, nor cancelled."""
    return await fetch_column(conn, UNFINISHED, {"owner": owner})


async def lock(conn: Connection, proposal: Proposal) -> bool:
    """Lock the proposal for a change; return False if it has changed or ended meanwhile."""
    cursor = await conn.execute(LOCK, {"id": proposal.id, "version": proposal.version})
    return cursor.rowcount == 1


async def approve(conn: Connection, proposal: UUID, signer: str) -> None:
    """Add the approval of a signer who has not approved before."""
    await conn.execute(APPROVE, {"id": proposal, "signer": signer})


async def cancel(conn: Connection, proposal: UUID) -> None:
    """Cancel the proposal."""
    await conn.execute(CANCEL, {"id": proposal})


async def set_transaction(
    conn: Connection,
    proposal: UUID,
    *,
    message_hash: bytes,
    message: bytes,
    last_valid_block_height: int,
) -> bool:
    """Make this the proposal's transaction, and delete the signatures of the previous one.

    Returns False if another proposal has the same message.
    """
    await conn.execute(DROP_SIGNATURES, {"id": proposal})
    params = {
        "id": proposal,
        "message_hash": message_hash,
        "message": message,
        "last_valid_block_height": last_valid_block_height,
    }
    return (await conn.execute(SET_TRANSACTION, params)).rowcount == 1


async def sign(conn: Connection, message_hash: bytes, signatures: Mapping[str, bytes]) -> None:
    """Add signatures of a transaction, by signer; existing ones stay."""
    params = {
        "message_hash": message_hash,
        "signers": list(signatures),
        "signatures": list(signatures.values()),
    }
    await conn.execute(SIGN, params)


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the proposals that expired longer than `age` ago; return how many."""
    return (await conn.execute(PRUNE, {"age": age})).rowcount


def _proposal(
    *,
    signers: list[str],
    approvers: list[str],
    approved_at: list[datetime],
    message_hash: bytes | None,
    message: bytes,
    last_valid_block_height: int,
    cosigners: list[str],
    signatures: list[bytes],
    submission: str | None,
    signature: str | None,
    **columns: Any,
) -> Proposal:
    transaction = None
    if message_hash is not None:
        transaction = LiveTransaction(
            message_hash=message_hash,
            message=message,
            last_valid_block_height=last_valid_block_height,
            signatures=dict(zip(cosigners, signatures, strict=True)),
            submission=submissions.State(submission) if submission else None,
            signature=signature,
        )
    return Proposal(
        signers=tuple(signers),
        approvals=dict(zip(approvers, approved_at, strict=True)),
        transaction=transaction,
        **columns,
    )
