use sdk::sysvar::Clock;
use sdk::token::{self, TokenAccount};
use sdk::{Context, Reader, Result};

use crate::accounts::{self, VAULT};
use crate::authorization::authorize;
use crate::errors::VaultError;
use crate::events::{TimelocksReleasedEvent, TransactionEvent, WithdrawEvent, transaction_type};
use crate::limits;
use crate::positions;
use crate::state::{Balances, Vault};

/// Sends available tokens to the owner or a whitelisted address.
///
/// Remaining accounts: one position summary for each authorized program, then extra signers.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let amount = arguments.u64()?;
    arguments.end()?;
    let (
        &[authority, owner, vault_account, vault_authority, vault_tokens, recipient, token_program],
        remaining,
    ) = accounts::take(context)?;
    accounts::signer(authority)?;
    accounts::writable([authority, vault_account, vault_tokens, recipient])?;
    accounts::program(token_program, &token::ID)?;
    let vault = accounts::vault(context, vault_account, owner)?;
    let vault_authority = accounts::vault_authority(context, vault_authority)?;
    let tokens = accounts::vault_token_account(&vault, vault_tokens)?;
    let recipient_tokens = accounts::outside_token_account(&vault, recipient)?;

    if amount == 0 {
        return Err(VaultError::InvalidAmount);
    }
    let (summaries, signers) = positions::split(&vault_authority, remaining)?;
    authorize(&vault, authority, signers)?;
    require_allowed_recipient(&vault, recipient_tokens)?;
    let now = Clock::get()?.unix_timestamp;
    let mut balances = vault.balances()?;
    release_matured(&vault, &mut balances, now)?;
    positions::require_none_open(&vault, &vault_authority, summaries)?;
    if balances.locked != 0 {
        return Err(VaultError::OpenPositionsExist);
    }
    balances.withdraw(amount)?;
    limits::consume_requests(&vault, amount, now)?;
    limits::consume_rate(&vault, amount, now)?;
    vault.set_balances(balances)?;

    let seeds = [VAULT, owner.key().as_bytes(), &[vault.bump()?]];
    token::transfer(vault_tokens, recipient, vault_account, amount, &seeds);
    vault.check(tokens)?;

    WithdrawEvent {
        vault: *vault.key(),
        owner: *owner.key(),
        amount,
        new_total_balance: balances.total,
        new_available_balance: balances.available,
    }
    .emit();
    TransactionEvent {
        vault: *vault.key(),
        owner: *owner.key(),
        transaction_type: transaction_type::WITHDRAWAL,
        amount,
        timestamp: now,
    }
    .emit();
    Ok(())
}

#[inline(always)]
fn require_allowed_recipient(vault: &Vault, recipient: TokenAccount) -> Result {
    let wallet = recipient.owner()?;
    if wallet == vault.owner()? || vault.withdraw_whitelist()?.contains(&wallet)? {
        return Ok(());
    }
    Err(VaultError::Unauthorized)
}

#[inline(always)]
fn release_matured(vault: &Vault, balances: &mut Balances, now: i64) -> Result {
    let (released_total, count) = vault.release_timelocks(balances, now)?;
    if count > 0 {
        TimelocksReleasedEvent {
            vault: *vault.key(),
            owner: vault.owner()?,
            released_total,
            remaining_timelocks: vault.timelocks()?.len()? as u32,
        }
        .emit();
    }
    Ok(())
}
