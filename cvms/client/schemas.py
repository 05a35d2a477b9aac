"""Replies of the service. Unknown fields are ignored.

Amounts are integers in the token's smallest unit. Times are in UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec


class Nonce(msgspec.Struct, frozen=True):
    """A nonce to sign with a request. It is valid once, until `expires_at`.

    `message` is the text to sign, if the nonce was requested for an action.
    """

    nonce: str
    expires_at: datetime
    message: str | None = None


class Balance(msgspec.Struct, frozen=True):
    """A vault's balances at `slot`."""

    owner: str
    vault: str
    balance: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int
    slot: int
    as_of: datetime | None = None


class Movement(msgspec.Struct, frozen=True):
    """An entry of a vault's history."""

    kind: str
    amount: int
    slot: int
    signature: str
    commitment: str
    balance_after: int | None = None
    block_time: datetime | None = None


class History(msgspec.Struct, frozen=True):
    """A page of a vault's history, newest first. The last one has no `next_cursor`."""

    owner: str
    transactions: list[Movement]
    next_cursor: int | str | None = None


class Deployment(msgspec.Struct, frozen=True):
    """The addresses of a deployment: `programs` by name, and `chain` with its `genesis_hash`.

    `limits` are described in the OpenAPI document.
    """

    programs: dict[str, str]
    vault_authority: str
    mint: str
    decimals: int
    operator: str
    chain: dict[str, str]
    limits: dict[str, Any]


class Tvl(msgspec.Struct, frozen=True):
    """Total of all vaults. `slot` is the newest of theirs, or None without vaults."""

    total: int
    vaults: int
    slot: int | None


class AccountMeta(msgspec.Struct, frozen=True):
    """An account of an instruction."""

    pubkey: str
    is_signer: bool
    is_writable: bool


class Instruction(msgspec.Struct, frozen=True):
    """The instruction of a transaction besides its compute budget. `data` is in base64."""

    program_id: str
    accounts: list[AccountMeta]
    data: str


class CoSign(msgspec.Struct, frozen=True, tag_field="mode", tag="cosign"):
    """A transaction (base64) for the wallet to sign. `Client.finish` signs and submits it.

    It has no effect before that.
    """

    transaction: str
    instruction: Instruction
    last_valid_block_height: int


class Submitted(msgspec.Struct, frozen=True, tag_field="mode", tag="submitted"):
    """A transaction that the service has signed and submits."""

    signature: str
    status: str


Outcome = CoSign | Submitted


class Accepted(msgspec.Struct, frozen=True):
    """A submitted transaction. `signature` is None while signers are `missing`.

    If it was `rebuilt`, its block hash had expired, and all must sign `transaction` instead.
    """

    signature: str | None
    status: str
    missing: list[str] = []
    rebuilt: bool = False
    transaction: str | None = None


Status = Literal[
    "pending", "submitted", "confirmed", "finalized", "failed", "expired", "quarantined"
]


class TransactionState(msgspec.Struct, frozen=True):
    """The state of a transaction. `error` is the reason of a failure.

    `landed_signature` is the signature under which it landed, if that is another one.
    """

    signature: str
    status: Status
    kind: str
    owner: str
    amount: int | None
    slot: int | None
    error: Any = None
    landed_signature: str | None = None


class Approval(msgspec.Struct, frozen=True):
    """A signer's approval."""

    signer: str
    approved_at: datetime


class Proposal(msgspec.Struct, frozen=True):
    """A proposed multisig withdrawal.

    `missing` are the signers who have not approved or, once there is a `transaction`, not signed.
    """

    proposal_id: str
    owner: str
    amount: int
    threshold: int
    signers: list[str]
    state: str
    approvals: list[Approval]
    missing: list[str]
    expires_at: datetime
    must_sign: list[str] = []
    transaction: str | None = None
    signature: str | None = None


class SignerContact(msgspec.Struct, frozen=True):
    """A signer's webhook, and the secret that signs its messages, which is shown only once."""

    signer: str
    url: str
    secret: str


class SecondFactor(msgspec.Struct, frozen=True):
    """The secrets of a new second factor, which are shown only once.

    `qr_code` is `otpauth_uri` as a PNG image in a data URI.
    """

    secret: str
    otpauth_uri: str
    qr_code: str
    recovery_codes: list[str]


class SecondFactorStatus(msgspec.Struct, frozen=True):
    """State of the second factor, and the number of unused recovery codes."""

    enabled: bool
    since: datetime | None
    recovery_codes_left: int


class YieldPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Policy by which the service compounds a vault's yield, from `min_amount` on."""

    yield_program: str
    auto_compound: bool
    min_amount: int


class YieldPolicies(msgspec.Struct, frozen=True, kw_only=True):
    """An owner's policies.

    `least` is the service's own minimum amount. `delegated` is False if the service is not a
    delegate of the vault, and so cannot compound.
    """

    owner: str
    policies: list[YieldPolicy]
    least: int
    delegated: bool
