//! The events, with the fields of the interface in its order.

use sdk::Pubkey;

/// The variants of `TransactionType` that are in use.
pub mod transaction_type {
    pub const DEPOSIT: u8 = 0;
    pub const WITHDRAWAL: u8 = 1;
    pub const LOCK: u8 = 2;
    pub const UNLOCK: u8 = 3;
    pub const TRANSFER: u8 = 4;
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
}
