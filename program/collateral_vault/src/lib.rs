//! The collateral vault: one token vault for each owner, whose books and tokens always agree.
//!
//! `instructions` holds one module for each instruction: it names its accounts, has them checked,
//! decides, moves tokens, and writes the books. What several instructions share is above it:
//! `accounts` (is this the account it claims to be?), `authorization` (may this signer act?),
//! `caller` (may this program?), `positions` and `limits` (may these tokens leave?), `state` (the accounts' bytes).
#![no_std]
#![deny(unsafe_code)]

mod accounts;
mod authorization;
mod caller;
mod errors;
mod events;
mod instructions;
mod limits;
mod positions;
mod state;

use sdk::{Context, Result};

sdk::entrypoint!(process, errors::VaultError);

fn process(context: &Context) -> Result {
    use instructions::*;
    sdk::dispatch!(context,
        "deposit", "Deposit" => deposit::process;
        "withdraw", "Withdraw" => withdraw::process;
        "initialize_vault", "InitializeVault" => initialize_vault::process;
        "add_delegate", "AddDelegate" => delegates::add;
        "remove_delegate", "RemoveDelegate" => delegates::remove;
        "initialize_vault_authority", "InitializeVaultAuthority" => initialize_vault_authority::process;
        "get_vault_info", "GetVaultInfo" => get_vault_info::process;
        "lock_collateral", "LockCollateral" => locks::lock;
        "unlock_collateral", "UnlockCollateral" => locks::unlock;
        "transfer_collateral", "TransferCollateral" => transfer_collateral::process;
        "add_authorized_program", "AddAuthorizedProgram" => authorized_programs::add;
        "remove_authorized_program", "RemoveAuthorizedProgram" => authorized_programs::remove;
        "add_yield_program", "AddYieldProgram" => yield_programs::add;
        "remove_yield_program", "RemoveYieldProgram" => yield_programs::remove;
        "set_freeze_flag", "SetFreezeFlag" => governance::set_freeze_flag;
        "set_cpi_enforced", "SetCpiEnforced" => governance::set_cpi_enforced;
        "set_risk_level", "SetRiskLevel" => governance::set_risk_level;
        "initialize", "Initialize" => initialize::process;
    )
}
