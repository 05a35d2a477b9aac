"""What the service answers, as far as this client reads it; fields that are new are passed over.

Amounts are integers in the token's smallest unit.
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
    """All vaults together."""

    total: int
    vaults: int
    slot: int | None


class CoSign(msgspec.Struct, frozen=True, tag_field="mode", tag="cosign"):
    """A transaction (base64) for the wallet to sign: `Client.finish` does, and hands it back."""

    transaction: str
    instruction: Any
    last_valid_block_height: int


class Submitted(msgspec.Struct, frozen=True, tag_field="mode", tag="submitted"):
    """A transaction that the service has signed and sends."""

    signature: str
    status: str


Outcome = CoSign | Submitted


class Accepted(msgspec.Struct, frozen=True):
    """What became of a transaction that was handed in; no signature while others must sign."""

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

    signature: str | None
    status: Status
    kind: str
    owner: str
    amount: int | None
    slot: int | None
    error: Any = None
