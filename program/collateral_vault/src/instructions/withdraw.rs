use sdk::sysvar::Clock;
use sdk::token::TokenAccount;
use sdk::{Context, Reader, Result};

use crate::authorization::authorize;
use crate::errors::VaultError;
use crate::events::{WithdrawEvent, record, transaction_type};
use crate::payout::Payout;
use crate::state::Vault;
use crate::{limits, pause, positions, timelocks};

/// Sends available tokens to the owner or a whitelisted address.
///
/// Remaining accounts: one position summary for each authorized program, then extra signers.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let amount = arguments.u64()?;
    arguments.end()?;
    let payout = Payout::read(context)?;
    let Payout { authority, vault, vault_authority, recipient, remaining, .. } = payout;

    if amount == 0 {
        return Err(VaultError::InvalidAmount);
    }
    let (summaries, signers) = positions::split(&vault_authority, remaining)?;
    authorize(&vault, authority, signers)?;
    require_allowed_recipient(&vault, recipient)?;
    let now = Clock::get()?.unix_timestamp;
    pause::require_running(&vault_authority, now)?;
    let mut balances = vault.balances()?;
    timelocks::release_matured(&vault, &mut balances, now)?;
    positions::require_none_open(&vault, &vault_authority, summaries)?;
    if balances.locked != 0 {
        return Err(VaultError::OpenPositionsExist);
    }
    balances.withdraw(amount)?;
    limits::consume_requests(&vault, amount, now)?;
    limits::consume_rate(&vault, amount, now)?;
    vault.set_balances(balances)?;
    payout.send(amount)?;

    WithdrawEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        amount,
        new_total_balance: balances.total,
        new_available_balance: balances.available,
    }
    .emit();
    record(&vault, transaction_type::WITHDRAWAL, amount)
}

#[inline(always)]
fn require_allowed_recipient(vault: &Vault, recipient: TokenAccount) -> Result {
    let wallet = recipient.owner()?;
    if wallet == vault.owner()? || vault.withdraw_whitelist()?.contains(&wallet)? {
        return Ok(());
    }
    Err(VaultError::Unauthorized)
}
