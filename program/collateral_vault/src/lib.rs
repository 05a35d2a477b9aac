//! The collateral vault: one token vault for each owner, whose balances and tokens always agree.
//!
//! `instructions` holds one module for each instruction: it names its accounts, has them checked,
//! decides, moves tokens, and writes the balances. The other modules hold what instructions share:
//! `accounts` (is this the right account?), `authorization` and `upgrade_authority` (may this signer
//! act?), `caller` (may this program?), `guard` (may this be loosened?), `positions`, `pause`,
//! `limits` and `transfers` (may these tokens leave?), `payout`, `surplus`, `timelocks`,
//! `yield_call` and `holdings` (how they move), `state` (the accounts' bytes).
#![no_std]
#![deny(unsafe_code)]

mod accounts;
mod authorization;
mod caller;
mod errors;
mod events;
mod guard;
mod holdings;
mod instructions;
mod limits;
mod pause;
mod payout;
mod positions;
mod state;
mod surplus;
mod timelocks;
mod transfers;
mod upgrade_authority;
mod yield_call;

use sdk::{Context, Result};

sdk::entrypoint!(process, errors::VaultError);
sdk::security_txt!("collateral_vault");

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
        "emergency_withdraw", "EmergencyWithdraw" => emergency_withdraw::process;
        "schedule_timelock", "ScheduleTimelock" => timelocks::schedule;
        "release_timelocks", "ReleaseTimelocks" => timelocks::release;
        "request_withdraw", "RequestWithdraw" => request_withdraw::process;
        "yield_deposit", "YieldDeposit" => yields::deposit;
        "yield_withdraw", "YieldWithdraw" => yields::withdraw;
        "compound_yield", "CompoundYield" => yields::compound;
        "set_vault_multisig", "SetVaultMultisig" => multisig::set;
        "disable_vault_multisig", "DisableVaultMultisig" => multisig::disable;
        "set_withdraw_min_delay", "SetWithdrawMinDelay" => withdraw_policy::set_min_delay;
        "set_withdraw_rate_limit", "SetWithdrawRateLimit" => withdraw_policy::set_rate_limit;
        "add_withdraw_whitelist", "AddWithdrawWhitelist" => withdraw_policy::add_to_whitelist;
        "remove_withdraw_whitelist", "RemoveWithdrawWhitelist" => withdraw_policy::remove_from_whitelist;
        "set_transfer_allowance", "SetTransferAllowance" => withdraw_policy::set_transfer_allowance;
        "request_guard_change", "RequestGuardChange" => guard_changes::request;
        "apply_guard_change", "ApplyGuardChange" => guard_changes::apply;
        "cancel_guard_change", "CancelGuardChange" => guard_changes::cancel;
        "update_usdt_mint", "UpdateUsdtMint" => update_usdt_mint::process;
        "close_vault", "CloseVault" => close_vault::process;
        "sweep", "Sweep" => sweep::process;
        "initialize", "Initialize" => initialize::process;
        "propose_governance", "ProposeGovernance" => governance_transfer::propose;
        "accept_governance", "AcceptGovernance" => governance_transfer::accept;
        "pause_withdrawals", "PauseWithdrawals" => pause_withdrawals::process;
        "set_transfer_limits", "SetTransferLimits" => set_transfer_limits::process;
        "cancel_withdraw_request", "CancelWithdrawRequest" => request_withdraw::cancel;
        "cancel_timelock", "CancelTimelock" => timelocks::cancel;
        "request_exit", "RequestExit" => exit::request;
        "release_unclaimed", "ReleaseUnclaimed" => exit::release_unclaimed;
    )
}
