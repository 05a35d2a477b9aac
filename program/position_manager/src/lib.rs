//! The position manager: it locks collateral of a vault for open positions, and keeps the summary
//! without whose consent no tokens leave that vault.
//!
//! `instructions` holds one module for each instruction, or for a pair that mirrors itself. What
//! they share is above it: `accounts` (is this the account it claims to be?), `vault` (what the
//! vault program's accounts say), `summary` (this program's own account), `collateral` (the calls).
#![no_std]
#![deny(unsafe_code)]

mod accounts;
mod collateral;
mod errors;
mod instructions;
mod summary;
mod vault;

use sdk::discriminator::discriminator;
use sdk::{AnchorError, Context, Result, log};

sdk::entrypoint!(process, errors::PositionError);

macro_rules! dispatch {
    ($context:ident, $($name:literal, $title:literal => $handler:path;)*) => {{
        let mut arguments = $context.data;
        let Ok(name) = arguments.array() else {
            return Err(AnchorError::InstructionFallbackNotFound);
        };
        let name = u64::from_le_bytes(*name);
        $(if name == const { u64::from_le_bytes(discriminator("global", $name)) } {
            log::log(concat!("Instruction: ", $title));
            return $handler($context, &mut arguments);
        })*
        Err(AnchorError::InstructionFallbackNotFound)
    }};
}

fn process(context: &Context) -> Result {
    use instructions::*;
    dispatch!(context,
        "open_position", "OpenPosition" => positions::open;
        "close_position", "ClosePosition" => positions::close;
        "init_position_summary", "InitPositionSummary" => init_position_summary::process;
        "rebalance_collateral", "RebalanceCollateral" => rebalance_collateral::process;
    )
}
