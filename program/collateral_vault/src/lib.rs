//! The collateral vault: one token vault for each owner, whose books and tokens always agree.
//!
//! `instructions` holds one module for each instruction: it names its accounts, has them checked,
//! decides, moves tokens, and writes the books. What several instructions share is above it:
//! `accounts` (is this the account it claims to be?), `authorization` (may this signer act?),
//! `positions` and `limits` (may these tokens leave?), `state` (the accounts' bytes).
#![no_std]
#![deny(unsafe_code)]

mod accounts;
mod authorization;
mod errors;
mod events;
mod instructions;
mod limits;
mod positions;
mod state;

use sdk::discriminator::discriminator;
use sdk::{AnchorError, Context, Result, log};

sdk::entrypoint!(process, errors::VaultError);

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
        "deposit", "Deposit" => deposit::process;
        "withdraw", "Withdraw" => withdraw::process;
        "initialize_vault", "InitializeVault" => initialize_vault::process;
        "add_delegate", "AddDelegate" => delegates::add;
        "remove_delegate", "RemoveDelegate" => delegates::remove;
        "initialize_vault_authority", "InitializeVaultAuthority" => initialize_vault_authority::process;
        "get_vault_info", "GetVaultInfo" => get_vault_info::process;
        "initialize", "Initialize" => initialize::process;
    )
}
