"""Events of the vault program: a class for each, with the IDL's fields in the IDL's order.

Those of `guard_events` are about what owners set, those of `authority_events` about governance.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import get_args

from solders.pubkey import Pubkey

from cvms.chain import borsh
from cvms.chain.borsh import I64, U32, U64
from cvms.chain.program.events import authority_events, guard_events


class TransactionType(IntEnum):
    """Kind of a TransactionEvent, named as in the IDL."""

    Deposit = 0
    Withdrawal = 1
    Lock = 2
    Unlock = 3
    Transfer = 4
    EmergencyWithdrawal = 5
    YieldDeposit = 6
    YieldWithdraw = 7
    YieldCompound = 8


@dataclass(frozen=True, slots=True)
class DepositEvent:
    vault: Pubkey
    owner: Pubkey
    amount: U64
    new_total_balance: U64
    new_available_balance: U64


@dataclass(frozen=True, slots=True)
class WithdrawEvent:
    vault: Pubkey
    owner: Pubkey
    amount: U64
    new_total_balance: U64
    new_available_balance: U64


@dataclass(frozen=True, slots=True)
class LockEvent:
    vault: Pubkey
    owner: Pubkey
    amount: U64
    new_locked_balance: U64
    new_available_balance: U64


@dataclass(frozen=True, slots=True)
class UnlockEvent:
    vault: Pubkey
    owner: Pubkey
    amount: U64
    new_locked_balance: U64
    new_available_balance: U64


@dataclass(frozen=True, slots=True)
class TransferEvent:
    from_vault: Pubkey
    to_vault: Pubkey
    amount: U64
    from_new_total_balance: U64
    to_new_total_balance: U64


@dataclass(frozen=True, slots=True)
class TransactionEvent:
    vault: Pubkey
    owner: Pubkey
    transaction_type: TransactionType
    amount: U64
    timestamp: I64


@dataclass(frozen=True, slots=True)
class EmergencyWithdrawEvent:
    vault: Pubkey
    owner: Pubkey
    authority: Pubkey
    amount: U64
    new_total_balance: U64
    new_available_balance: U64
    new_locked_balance: U64


@dataclass(frozen=True, slots=True)
class TimelockScheduledEvent:
    vault: Pubkey
    owner: Pubkey
    amount: U64
    unlock_time: I64
    remaining_timelocks: U32


@dataclass(frozen=True, slots=True)
class TimelocksReleasedEvent:
    vault: Pubkey
    owner: Pubkey
    released_total: U64
    remaining_timelocks: U32


@dataclass(frozen=True, slots=True)
class VaultAuthorityInitializedEvent:
    governance: Pubkey
    authorized_programs_len: U32
    freeze: bool


@dataclass(frozen=True, slots=True)
class AuthorizedProgramAddedEvent:
    program: Pubkey


@dataclass(frozen=True, slots=True)
class AuthorizedProgramRemovedEvent:
    program: Pubkey


@dataclass(frozen=True, slots=True)
class FreezeFlagSetEvent:
    freeze: bool


@dataclass(frozen=True, slots=True)
class CpiEnforcedSetEvent:
    cpi_enforced: bool


@dataclass(frozen=True, slots=True)
class UpdateUsdtMintEvent:
    vault: Pubkey
    old_mint: Pubkey
    new_mint: Pubkey


@dataclass(frozen=True, slots=True)
class VaultClosedEvent:
    vault: Pubkey
    owner: Pubkey


@dataclass(frozen=True, slots=True)
class YieldDepositEvent:
    vault: Pubkey
    owner: Pubkey
    program: Pubkey
    amount: U64
    new_yield_balance: U64
    new_available_balance: U64


@dataclass(frozen=True, slots=True)
class YieldWithdrawEvent:
    vault: Pubkey
    owner: Pubkey
    program: Pubkey
    amount: U64
    new_yield_balance: U64
    new_available_balance: U64


@dataclass(frozen=True, slots=True)
class YieldCompoundEvent:
    vault: Pubkey
    owner: Pubkey
    program: Pubkey
    compounded_amount: U64
    new_yield_balance: U64
    last_compounded_at: I64


@dataclass(frozen=True, slots=True)
class WithdrawRequestedEvent:
    vault: Pubkey
    owner: Pubkey
    amount: U64
    requested_at: I64
    executable_at: I64
    remaining_pending: U32


@dataclass(frozen=True, slots=True)
class WithdrawMinDelaySetEvent:
    vault: Pubkey
    owner: Pubkey
    seconds: I64


@dataclass(frozen=True, slots=True)
class WithdrawRateLimitSetEvent:
    vault: Pubkey
    owner: Pubkey
    window_seconds: U32
    max_amount: U64


@dataclass(frozen=True, slots=True)
class WithdrawWhitelistUpdatedEvent:
    vault: Pubkey
    owner: Pubkey
    address: Pubkey
    added: bool
    new_len: U32


@dataclass(frozen=True, slots=True)
class CollateralTransferredEvent:
    from_vault: Pubkey
    to_vault: Pubkey
    caller: Pubkey
    amount: U64
    from_locked: U64
    from_new_locked_balance: U64
    from_new_available_balance: U64
    to_new_available_balance: U64


@dataclass(frozen=True, slots=True)
class VaultInitializedEvent:
    vault: Pubkey
    owner: Pubkey
    token_account: Pubkey
    usdt_mint: Pubkey


@dataclass(frozen=True, slots=True)
class SweptEvent:
    vault: Pubkey
    owner: Pubkey
    mint: Pubkey
    amount: U64
    recipient: Pubkey


Event = (
    DepositEvent
    | WithdrawEvent
    | LockEvent
    | UnlockEvent
    | TransferEvent
    | TransactionEvent
    | EmergencyWithdrawEvent
    | TimelockScheduledEvent
    | TimelocksReleasedEvent
    | VaultAuthorityInitializedEvent
    | AuthorizedProgramAddedEvent
    | AuthorizedProgramRemovedEvent
    | FreezeFlagSetEvent
    | CpiEnforcedSetEvent
    | UpdateUsdtMintEvent
    | VaultClosedEvent
    | YieldDepositEvent
    | YieldWithdrawEvent
    | YieldCompoundEvent
    | WithdrawRequestedEvent
    | WithdrawMinDelaySetEvent
    | WithdrawRateLimitSetEvent
    | WithdrawWhitelistUpdatedEvent
    | authority_events.GovernanceProposedEvent
    | authority_events.GovernanceAcceptedEvent
    | authority_events.WithdrawalsPausedEvent
    | authority_events.YieldProgramAddedEvent
    | authority_events.YieldProgramRemovedEvent
    | authority_events.RiskLevelSetEvent
    | authority_events.TransferLimitsSetEvent
    | CollateralTransferredEvent
    | VaultInitializedEvent
    | SweptEvent
    | guard_events.DelegateAddedEvent
    | guard_events.DelegateRemovedEvent
    | guard_events.MultisigSetEvent
    | guard_events.TransferAllowanceSetEvent
    | guard_events.GuardChangeRequestedEvent
    | guard_events.GuardChangeAppliedEvent
    | guard_events.GuardChangeCancelledEvent
    | guard_events.WithdrawRequestCancelledEvent
    | guard_events.TimelockCancelledEvent
    | guard_events.ExitRequestedEvent
    | guard_events.CollateralReleasedEvent
)


@cache
def _classes() -> dict[bytes, type[Event]]:
    return {borsh.discriminator("event", kind.__name__): kind for kind in get_args(Event)}


def decode_event(data: bytes) -> Event | None:
    """Decode a `Program data:` field; None when its discriminator is not an event's.

    Raises DecodeError when the discriminator is an event's and the rest is not exactly its fields.
    """
    kind = _classes().get(data[:8])
    return None if kind is None else borsh.decode(kind, data, offset=8, trailing=False)
