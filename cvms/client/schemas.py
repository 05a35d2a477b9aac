"""What the service answers, as far as this client reads it; fields that are new are passed over.

Amounts are integers in the token's smallest unit, times are UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec


class Nonce(msgspec.Struct, frozen=True):
    """What a wallet signs beside its request, once, until `expires_at`."""

    nonce: str
    expires_at: datetime


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
    """One line of a vault's history."""

    kind: str
    amount: int
    slot: int
    signature: str
    commitment: str
    balance_after: int | None = None
    block_time: datetime | None = None


class History(msgspec.Struct, frozen=True):
    """A page of a vault's history, newest first; no `next_cursor` on the last one."""

    owner: str
    transactions: list[Movement]
    next_cursor: int | str | None = None


class Tvl(msgspec.Struct, frozen=True):
    """All vaults together; `slot` is the newest among them, None before the first."""

    total: int
    vaults: int
    slot: int | None


class AccountMeta(msgspec.Struct, frozen=True):
    """An account of an instruction."""

    pubkey: str
    is_signer: bool
    is_writable: bool


class Instruction(msgspec.Struct, frozen=True):
    """What a transaction does beside paying for itself; `data` in base64."""

    program_id: str
    accounts: list[AccountMeta]
    data: str


class CoSign(msgspec.Struct, frozen=True, tag_field="mode", tag="cosign"):
    """A transaction (base64) for the wallet to sign: `Client.finish` does, and hands it back.

    Nothing has happened yet.
    """

    transaction: str
    instruction: Instruction
    last_valid_block_height: int


class Submitted(msgspec.Struct, frozen=True, tag_field="mode", tag="submitted"):
    """A transaction that the service has signed and sends."""

    signature: str
    status: str


Outcome = CoSign | Submitted


class Accepted(msgspec.Struct, frozen=True):
    """What became of a transaction that was handed in; no signature while others must sign.

    `rebuilt`: its block hash was too old, and all sign `transaction` instead.
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
    """Where a transaction stands; `error` says why it failed."""

    signature: str
    status: Status
    kind: str
    owner: str
    amount: int | None
    slot: int | None
    error: Any = None


class Approval(msgspec.Struct, frozen=True):
    """A signer who has approved."""

    signer: str
    approved_at: datetime


class Proposal(msgspec.Struct, frozen=True):
    """A withdrawal that several must sign.

    `missing`: who has not approved, or, once there is a `transaction`, who has not signed it.
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
    """A signer's webhook, and the secret that signs what it gets: shown once, and never again."""

    signer: str
    url: str
    secret: str


class SecondFactor(msgspec.Struct, frozen=True):
    """What a device needs, told this once. `qr_code` shows `otpauth_uri`: a PNG as a data URI."""

    secret: str
    otpauth_uri: str
    qr_code: str
    recovery_codes: list[str]


class SecondFactorStatus(msgspec.Struct, frozen=True):
    """Whether, and since when, withdrawals take a code; and how many recovery codes are left."""

    enabled: bool
    since: datetime | None
    recovery_codes_left: int


class YieldPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the service compounds what a vault earns with a program, from `min_amount` on."""

    yield_program: str
    auto_compound: bool
    min_amount: int


class YieldPolicies(msgspec.Struct, frozen=True, kw_only=True):
    """An owner's; `least` is the service's own bound, `delegated` whether the vault lets it."""

    owner: str
    policies: list[YieldPolicy]
    least: int
    delegated: bool
