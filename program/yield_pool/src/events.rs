//! The events, with their fields in the order of the interface.

use sdk::Pubkey;

sdk::events! {
    struct PoolInitialized {
        pool: Pubkey,
        admin: Pubkey,
        mint: Pubkey,
        rate_bps: u32,
    }
    struct RateSet {
        pool: Pubkey,
        old_rate_bps: u32,
        new_rate_bps: u32,
    }
    struct ReserveFunded {
        pool: Pubkey,
        funder: Pubkey,
        amount: u64,
    }
    struct PositionOpened {
        pool: Pubkey,
        position: Pubkey,
        owner: Pubkey,
    }
    struct Deposited {
        pool: Pubkey,
        owner: Pubkey,
        amount: u64,
        new_principal: u64,
        new_total_principal: u64,
    }
    struct Withdrawn {
        pool: Pubkey,
        owner: Pubkey,
        amount: u64,
        new_principal: u64,
        new_total_principal: u64,
    }
    struct Claimed {
        pool: Pubkey,
        owner: Pubkey,
        amount: u64,
        new_reserve: u64,
    }
}
