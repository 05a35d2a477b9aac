//! The events, with their fields in the order of the interface.

use sdk::log::{Borsh, Keys};
use sdk::sysvar::Clock;
use sdk::{Pubkey, Result};

use crate::state::{GUARD_CHANGE_LENGTH, SIGNERS, Vault};

/// The variants of `TransactionType`.
pub mod transaction_type {
    pub const DEPOSIT: u8 = 0;
    pub const WITHDRAWAL: u8 = 1;
    pub const LOCK: u8 = 2;
    pub const UNLOCK: u8 = 3;
    pub const TRANSFER: u8 = 4;
    pub const EMERGENCY_WITHDRAWAL: u8 = 5;
    pub const YIELD_DEPOSIT: u8 = 6;
    pub const YIELD_WITHDRAW: u8 = 7;
    pub const YIELD_COMPOUND: u8 = 8;
}

/// The event that records a movement of amounts in the vault's history, at the current time.
#[inline(never)]
pub fn record(vault: &Vault, transaction_type: u8, amount: u64) -> Result {
    record_at(vault, transaction_type, amount, Clock::get()?.unix_timestamp)
}

/// `record`, for an instruction that has read the clock.
#[inline(always)]
pub fn record_at(vault: &Vault, transaction_type: u8, amount: u64, timestamp: i64) -> Result {
    let (vault, owner) = (*vault.key(), vault.owner()?);
    TransactionEvent { vault, owner, transaction_type, amount, timestamp }.emit();
    Ok(())
}

sdk::events! {
    struct DepositEvent {
        vault: Pubkey,
        owner: Pubkey,
        amount: u64,
        new_total_balance: u64,
        new_available_balance: u64,
    }
    struct WithdrawEvent {
        vault: Pubkey,
        owner: Pubkey,
        amount: u64,
        new_total_balance: u64,
        new_available_balance: u64,
    }
    struct LockEvent {
        vault: Pubkey,
        owner: Pubkey,
        amount: u64,
        new_locked_balance: u64,
        new_available_balance: u64,
    }
    struct UnlockEvent {
        vault: Pubkey,
        owner: Pubkey,
        amount: u64,
        new_locked_balance: u64,
        new_available_balance: u64,
    }
    struct TransferEvent {
        from_vault: Pubkey,
        to_vault: Pubkey,
        amount: u64,
        from_new_total_balance: u64,
        to_new_total_balance: u64,
    }
    struct TransactionEvent {
        vault: Pubkey,
        owner: Pubkey,
        transaction_type: u8,
        amount: u64,
        timestamp: i64,
    }
    struct EmergencyWithdrawEvent {
        vault: Pubkey,
        owner: Pubkey,
        authority: Pubkey,
        amount: u64,
        new_total_balance: u64,
        new_available_balance: u64,
        new_locked_balance: u64,
    }
    struct TimelockScheduledEvent {
        vault: Pubkey,
        owner: Pubkey,
        amount: u64,
        unlock_time: i64,
        remaining_timelocks: u32,
    }
    struct TimelocksReleasedEvent {
        vault: Pubkey,
        owner: Pubkey,
        released_total: u64,
        remaining_timelocks: u32,
    }
    struct VaultAuthorityInitializedEvent {
        governance: Pubkey,
        authorized_programs_len: u32,
        freeze: bool,
    }
    struct AuthorizedProgramAddedEvent {
        program: Pubkey,
    }
    struct AuthorizedProgramRemovedEvent {
        program: Pubkey,
    }
    struct FreezeFlagSetEvent {
        freeze: bool,
    }
    struct CpiEnforcedSetEvent {
        cpi_enforced: bool,
    }
    struct UpdateUsdtMintEvent {
        vault: Pubkey,
        old_mint: Pubkey,
        new_mint: Pubkey,
    }
    struct VaultClosedEvent {
        vault: Pubkey,
        owner: Pubkey,
    }
    struct YieldDepositEvent {
        vault: Pubkey,
        owner: Pubkey,
        program: Pubkey,
        amount: u64,
        new_yield_balance: u64,
        new_available_balance: u64,
    }
    struct YieldWithdrawEvent {
        vault: Pubkey,
        owner: Pubkey,
        program: Pubkey,
        amount: u64,
        new_yield_balance: u64,
        new_available_balance: u64,
    }
    struct YieldCompoundEvent {
        vault: Pubkey,
        owner: Pubkey,
        program: Pubkey,
        compounded_amount: u64,
        new_yield_balance: u64,
        last_compounded_at: i64,
    }
    struct WithdrawRequestedEvent {
        vault: Pubkey,
        owner: Pubkey,
        amount: u64,
        requested_at: i64,
        executable_at: i64,
        remaining_pending: u32,
    }
    struct WithdrawMinDelaySetEvent {
        vault: Pubkey,
        owner: Pubkey,
        seconds: i64,
    }
    struct WithdrawRateLimitSetEvent {
        vault: Pubkey,
        owner: Pubkey,
        window_seconds: u32,
        max_amount: u64,
    }
    struct WithdrawWhitelistUpdatedEvent {
        vault: Pubkey,
        owner: Pubkey,
        address: Pubkey,
        added: bool,
        new_len: u32,
    }
    struct GovernanceProposedEvent {
        authority: Pubkey,
        proposed: Pubkey,
    }
    struct GovernanceAcceptedEvent {
        old_governance: Pubkey,
        new_governance: Pubkey,
    }
    struct WithdrawalsPausedEvent {
        paused_until: i64,
        pause_allowed_at: i64,
    }
    struct YieldProgramAddedEvent {
        program: Pubkey,
    }
    struct YieldProgramRemovedEvent {
        program: Pubkey,
    }
    struct RiskLevelSetEvent {
        risk_level: u8,
    }
    struct TransferLimitsSetEvent {
        vault_daily: u64,
        total_daily: u64,
        pending_vault_daily: u64,
        pending_total_daily: u64,
        pending_at: i64,
    }
    struct CollateralTransferredEvent {
        from_vault: Pubkey,
        to_vault: Pubkey,
        caller: Pubkey,
        amount: u64,
        from_locked: u64,
        from_new_locked_balance: u64,
        from_new_available_balance: u64,
        to_new_available_balance: u64,
    }
    struct VaultInitializedEvent {
        vault: Pubkey,
        owner: Pubkey,
        token_account: Pubkey,
        usdt_mint: Pubkey,
    }
    struct SweptEvent {
        vault: Pubkey,
        owner: Pubkey,
        mint: Pubkey,
        amount: u64,
        recipient: Pubkey,
    }
    struct DelegateAddedEvent {
        vault: Pubkey,
        owner: Pubkey,
        delegate: Pubkey,
    }
    struct DelegateRemovedEvent {
        vault: Pubkey,
        owner: Pubkey,
        delegate: Pubkey,
    }
    struct TransferAllowanceSetEvent {
        vault: Pubkey,
        owner: Pubkey,
        amount: u64,
    }
    struct MultisigSetEvent<'a> {
        vault: Pubkey,
        owner: Pubkey,
        threshold: u8,
        signers: Keys<'a, SIGNERS>,
    }
    struct GuardChangeRequestedEvent<'a> {
        vault: Pubkey,
        owner: Pubkey,
        executable_at: i64,
        change: Borsh<'a, GUARD_CHANGE_LENGTH>,
    }
    struct GuardChangeAppliedEvent<'a> {
        vault: Pubkey,
        owner: Pubkey,
        change: Borsh<'a, GUARD_CHANGE_LENGTH>,
    }
    struct GuardChangeCancelledEvent<'a> {
        vault: Pubkey,
        owner: Pubkey,
        authority: Pubkey,
        change: Borsh<'a, GUARD_CHANGE_LENGTH>,
    }
    struct WithdrawRequestCancelledEvent {
        vault: Pubkey,
        owner: Pubkey,
        amount: u64,
        executable_at: i64,
        remaining_pending: u32,
    }
    struct TimelockCancelledEvent {
        vault: Pubkey,
        owner: Pubkey,
        amount: u64,
        unlock_time: i64,
        new_unlock_time: i64,
        new_available_balance: u64,
        remaining_timelocks: u32,
    }
    struct ExitRequestedEvent {
        vault: Pubkey,
        owner: Pubkey,
        exit_at: i64,
    }
    struct CollateralReleasedEvent {
        vault: Pubkey,
        owner: Pubkey,
        amount: u64,
        new_locked_balance: u64,
        new_available_balance: u64,
    }
}
