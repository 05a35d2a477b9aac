"""Reply types shared by several routes and by WebSocket snapshots, and how rows become them.

A field that a row calls by another name has that name here, and its own in JSON.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from cvms.amounts import Amount

T = TypeVar("T")


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """A vault's balances as of `slot`, in the token's smallest unit."""

    owner: str
    vault: str
    total: Amount = msgspec.field(name="balance")
    available: Amount
    locked: Amount
    timelocked: Amount
    yield_deposited: Amount
    slot: int
    updated_at: datetime | None = msgspec.field(name="as_of")
    cached: bool | msgspec.UnsetType = msgspec.UNSET


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a vault's history. `id` is the cursor of the page that follows it."""

    id: int | None
    kind: str
    amount: Amount
    balance_after: Amount | None
    slot: int
    block_time: datetime | None
    signature: str
    commitment: str


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a vault's history, newest first. `next_cursor` is null on the last page."""

    owner: str
    transactions: list[Movement]
    next_cursor: int | None


class Tvl(msgspec.Struct, frozen=True, kw_only=True):
    """The sum over all vaults. `slot` is their newest, null if there is no vault yet."""

    total: Amount
    vaults: int
    slot: int | None


class AccountMeta(msgspec.Struct, frozen=True, kw_only=True):
    """An account of an instruction."""

    pubkey: str
    is_signer: bool
    is_writable: bool


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """An instruction, `data` in base64, for a client that builds its own transaction."""

    program_id: str
    accounts: list[AccountMeta]
    data: str


class CoSign(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction for the wallet to sign, in base64, and the last block height it is valid at."""

    mode: Literal["cosign"] = "cosign"
    transaction: str
    instruction: Instruction
    last_valid_block_height: int


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that the service has signed and submits."""

    mode: Literal["submitted"] = "submitted"
    signature: str
    status: str


class Requested(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request for a transaction: the fields of `CoSign` or those of `Submitted`.

    `mode` says which. Of a route that may answer either, this one type describes both answers:
    generated clients know one type for all successes of an operation.
    """

    mode: Literal["cosign", "submitted"]
    transaction: str | msgspec.UnsetType = msgspec.UNSET
    instruction: Instruction | msgspec.UnsetType = msgspec.UNSET
    last_valid_block_height: int | msgspec.UnsetType = msgspec.UNSET
    signature: str | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET


ApprovalState = Literal["pending", "executed", "refused", "rejected", "withdrawn", "expired"]


class AdminApproval(msgspec.Struct, frozen=True, kw_only=True):
    """An action of an administrator that another administrator has to approve.

    `body_hash` is the SHA-256 of the route and the whole body, in hexadecimal. `refused`: it was
    approved, and the chain refused it. `decided_by` approved, rejected or withdrew it.
    """

    id: str
    action: str
    summary: str
    body_hash: str
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    status: ApprovalState
    decided_by: str | None
    decided_at: datetime | None


class ApprovalRequested(msgspec.Struct, frozen=True, kw_only=True):
    """An action that waits for `POST /api/admin/approvals/{id}/approve`."""

    mode: Literal["approval"] = "approval"
    approval: AdminApproval


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """Instructions to propose to the program that holds governance, for example a multisig's.

    `governance` is that program's address, which signs when the proposal is executed.
    """

    mode: Literal["proposal"] = "proposal"
    governance: str
    instructions: list[Instruction]


class Governed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an act of governance: the fields of `Submitted`, `CoSign` or `Proposal`, or
    those of `ApprovalRequested` while a second administrator has to approve it.

    `mode` says which: the service submits where it holds governance. It gives a wallet that does
    a transaction to sign, and a program that does the instructions to propose there.
    """

    mode: Literal["submitted", "cosign", "proposal", "approval"]
    signature: str | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET
    transaction: str | msgspec.UnsetType = msgspec.UNSET
    instruction: Instruction | msgspec.UnsetType = msgspec.UNSET
    last_valid_block_height: int | msgspec.UnsetType = msgspec.UNSET
    governance: str | msgspec.UnsetType = msgspec.UNSET
    instructions: list[Instruction] | msgspec.UnsetType = msgspec.UNSET
    approval: AdminApproval | msgspec.UnsetType = msgspec.UNSET


class Accepted(msgspec.Struct, frozen=True):
    """A transaction that the service submits, or keeps until all co-signers have signed it.

    While co-signers are `missing`, the status is `collecting`. If `rebuilt`, the posted transaction
    has been replaced, and all co-signers must sign `transaction`.
    """

    signature: str | None
    status: str
    proposal_id: str | msgspec.UnsetType = msgspec.UNSET
    missing: list[str] | msgspec.UnsetType = msgspec.UNSET
    rebuilt: bool | msgspec.UnsetType = msgspec.UNSET
    transaction: str | msgspec.UnsetType = msgspec.UNSET
    last_valid_block_height: int | msgspec.UnsetType = msgspec.UNSET


class TransactionState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a transaction. `error` says why it failed.

    `landed_signature` is the signature under which its message landed, if the wallet has signed it
    twice and the other one was first; else null.
    """

    signature: str | None
    landed_signature: str | None
    state: str = msgspec.field(name="status")
    kind: str
    owner: str
    amount: Amount | None
    slot: int | None
    error: Any
    created_at: datetime | None
    updated_at: datetime | None


def reply_of(source: object, reply: type[T]) -> T:
    """Return a reply whose fields are attributes of the source: a row, or a larger reply."""
    return msgspec.convert(source, reply, from_attributes=True)


AlertState = Literal["open", "acknowledged", "resolved"]
Severity = Literal["info", "warning", "critical"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that needs attention. `docs/alerts.md` lists the kinds, and what to do.

    `count` is the number of occurrences while the alert was not resolved. Up to `silenced_until`,
    null for none, it sends no webhook.
    """

    id: int
    kind: str
    subject: str
    owner: str | None
    severity: Severity
    state: AlertState
    summary: str
    details: dict[str, Any]
    count: int
    first_seen_at: datetime
    last_seen_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    silenced_until: datetime | None
    silenced_by: str | None
    silence_reason: str | None
