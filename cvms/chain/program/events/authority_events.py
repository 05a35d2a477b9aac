"""Events about what governance changes for all vaults."""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey

from cvms.chain.borsh import I64, U8, U64


@dataclass(frozen=True, slots=True)
class GovernanceProposedEvent:
    authority: Pubkey
    proposed: Pubkey


@dataclass(frozen=True, slots=True)
class GovernanceAcceptedEvent:
    old_governance: Pubkey
    new_governance: Pubkey


@dataclass(frozen=True, slots=True)
class WithdrawalsPausedEvent:
    paused_until: I64
    pause_allowed_at: I64


@dataclass(frozen=True, slots=True)
class YieldProgramAddedEvent:
    program: Pubkey


@dataclass(frozen=True, slots=True)
class YieldProgramRemovedEvent:
    program: Pubkey


@dataclass(frozen=True, slots=True)
class RiskLevelSetEvent:
    risk_level: U8


@dataclass(frozen=True, slots=True)
class TransferLimitsSetEvent:
    vault_daily: U64
    total_daily: U64
    pending_vault_daily: U64
    pending_total_daily: U64
    pending_at: I64
