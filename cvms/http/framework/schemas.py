"""Reply types shared by several routes and by WebSocket snapshots, and how rows become them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from cvms.store.submissions.submissions import Submission
from cvms.store.vaults.balance_history import BalancePoint
from cvms.store.vaults.history import HistoryRow
from cvms.store.vaults.vaults import Tvl as TvlRow
from cvms.store.vaults.vaults import VaultRow


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """A vault's balances as of `slot`, in the token's smallest unit."""

    owner: str
    vault: str
    balance: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int
    slot: int
    as_of: datetime | None
    cached: bool | msgspec.UnsetType = msgspec.UNSET


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a vault's history. `id` is the cursor of the page that follows it."""

    id: int | None
    kind: str
    amount: int
    balance_after: int | None
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

    total: int
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
    """The state of a transaction. `error` says why it failed."""

    signature: str | None
    status: str
    kind: str
    owner: str
    amount: int | None
    slot: int | None
    error: Any
    created_at: datetime | None
    updated_at: datetime | None


def balance_reply(row: VaultRow, *, cached: bool | msgspec.UnsetType = msgspec.UNSET) -> Balance:
    """Return a vault's balances. `cached` is omitted where it has no meaning."""
    return Balance(
        owner=row.owner,
        vault=row.vault,
        balance=row.total,
        available=row.available,
        locked=row.locked,
        timelocked=row.timelocked,
        yield_deposited=row.yield_deposited,
        slot=row.slot,
        as_of=row.updated_at,
        cached=cached,
    )


def past_balance_reply(point: BalancePoint, slot: int) -> Balance:
    """Return a vault's balances at the end of `slot`, for which `point` holds."""
    return Balance(
        owner=point.owner,
        vault=point.vault,
        balance=point.total,
        available=point.available,
        locked=point.locked,
        timelocked=point.timelocked,
        yield_deposited=point.yield_deposited,
        slot=slot,
        as_of=point.block_time,
    )


def movement_reply(row: HistoryRow) -> Movement:
    """Return an entry of a vault's history."""
    return Movement(
        id=row.id,
        kind=row.kind,
        amount=row.amount,
        balance_after=row.balance_after,
        slot=row.slot,
        block_time=row.block_time,
        signature=row.signature,
        commitment=row.commitment,
    )


def tvl_reply(row: TvlRow) -> Tvl:
    """Return the sum over all vaults."""
    return Tvl(total=row.total, vaults=row.vaults, slot=row.slot)


def transaction_state_reply(row: Submission) -> TransactionState:
    """Return the state of a transaction."""
    return TransactionState(
        signature=row.signature,
        status=row.state,
        kind=row.kind,
        owner=row.owner,
        amount=row.amount,
        slot=row.slot,
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
