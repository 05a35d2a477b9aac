//! The events, with the fields of the interface in its order.

use sdk::Pubkey;

/// The variants of `TransactionType` that are in use.
pub mod transaction_type {
    pub const DEPOSIT: u8 = 0;
    pub const WITHDRAWAL: u8 = 1;
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
}
