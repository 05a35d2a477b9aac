//! The position manager: it locks a vault's collateral for open positions, and keeps the summary
//! that permits or blocks the vault's withdrawals.
//!
//! `instructions` holds one module for each instruction, or for a pair of inverse instructions. The
//! other modules hold what they share: `accounts` (is this the right account?), `vault` (what the
//! vault program's accounts say), `summary` (this program's own account), `collateral` (the calls).
#![no_std]
#![deny(unsafe_code)]

mod accounts;
mod collateral;
mod errors;
mod instructions;
mod summary;
mod vault;

use sdk::{Context, Result};

sdk::entrypoint!(process, errors::PositionError);
sdk::security_txt!("position_manager");

fn process(context: &Context) -> Result {
    use instructions::*;
    sdk::dispatch!(context,
        "open_position", "OpenPosition" => positions::open;
        "close_position", "ClosePosition" => positions::close;
        "init_position_summary", "InitPositionSummary" => init_position_summary::process;
        "rebalance_collateral", "RebalanceCollateral" => rebalance_collateral::process;
        "settle_position_summary", "SettlePositionSummary" => settle_position_summary::process;
    )
}
