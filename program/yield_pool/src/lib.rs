//! Pools of one mint that pay interest on deposits: a reference for yield programs, and a real
//! counterpart of the vault program's yield instructions.
//!
//! A pool's admin sets its rate, anyone fills the reserve that pays the interest, and deposits are
//! held one to one. `instructions` holds one module for each instruction. The other modules hold
//! what they share: `accounts` (is this the right account?), `interest` (the convention and its
//! arithmetic), `pool` and `position` (the program's own accounts), `reserve` (its creation),
//! `stake` (what an owner does with a position).
#![no_std]
#![deny(unsafe_code)]

mod accounts;
mod errors;
mod events;
mod instructions;
mod interest;
mod pool;
mod position;
mod reserve;
mod stake;

use sdk::{Context, Result};

sdk::entrypoint!(process, errors::PoolError);
sdk::security_txt!("yield_pool");

fn process(context: &Context) -> Result {
    use instructions::*;
    sdk::dispatch!(context,
        "deposit", "Deposit" => principal::deposit;
        "withdraw", "Withdraw" => principal::withdraw;
        "claim", "Claim" => claim::process;
        "initialize_pool", "InitializePool" => initialize_pool::process;
        "set_rate", "SetRate" => set_rate::process;
        "fund_reserve", "FundReserve" => fund_reserve::process;
        "open_position", "OpenPosition" => open_position::process;
    )
}
