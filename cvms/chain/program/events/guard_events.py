"""Events about a vault's signers and guards, and about what its owner takes back."""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey

from cvms.chain.borsh import I64, U8, U32, U64
from cvms.chain.program.guard_changes import GuardChange


@dataclass(frozen=True, slots=True)
class DelegateAddedEvent:
    vault: Pubkey
    owner: Pubkey
    delegate: Pubkey


@dataclass(frozen=True, slots=True)
class DelegateRemovedEvent:
    vault: Pubkey
    owner: Pubkey
    delegate: Pubkey


@dataclass(frozen=True, slots=True)
class MultisigSetEvent:
    vault: Pubkey
    owner: Pubkey
    threshold: U8
    signers: tuple[Pubkey, ...]


@dataclass(frozen=True, slots=True)
class TransferAllowanceSetEvent:
    vault: Pubkey
    owner: Pubkey
    amount: U64


@dataclass(frozen=True, slots=True)
class GuardChangeRequestedEvent:
    vault: Pubkey
    owner: Pubkey
    executable_at: I64
    change: GuardChange


@dataclass(frozen=True, slots=True)
class GuardChangeAppliedEvent:
    vault: Pubkey
    owner: Pubkey
    change: GuardChange


@dataclass(frozen=True, slots=True)
class GuardChangeCancelledEvent:
    vault: Pubkey
    owner: Pubkey
    authority: Pubkey
    change: GuardChange


@dataclass(frozen=True, slots=True)
class WithdrawRequestCancelledEvent:
    vault: Pubkey
    owner: Pubkey
    amount: U64
    executable_at: I64
    remaining_pending: U32


@dataclass(frozen=True, slots=True)
class TimelockCancelledEvent:
    vault: Pubkey
    owner: Pubkey
    amount: U64
    unlock_time: I64
    new_unlock_time: I64
    new_available_balance: U64
    remaining_timelocks: U32


@dataclass(frozen=True, slots=True)
class ExitRequestedEvent:
    vault: Pubkey
    owner: Pubkey
    exit_at: I64


@dataclass(frozen=True, slots=True)
class CollateralReleasedEvent:
    vault: Pubkey
    owner: Pubkey
    amount: U64
    new_locked_balance: U64
    new_available_balance: U64
