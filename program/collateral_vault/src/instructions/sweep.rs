use sdk::sysvar::Clock;
use sdk::token;
use sdk::{AnchorError, Context, Reader, Result};

use crate::accounts::{self, VAULT};
use crate::authorization::authorize;
use crate::errors::VaultError;
use crate::{pause, surplus};

/// Sends tokens beyond the vault's balances to a token account of the owner: from the vault's own
/// token account what exceeds the balances; from any other one everything, and then closes it.
///
/// Another one may hold the receipts of what is lent, so it is left alone until that is back.
/// Remaining accounts: extra signers.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (
        &[owner, vault_account, vault_authority, token_account, recipient, token_program],
        signers,
    ) = accounts::take(context)?;
    accounts::signer(owner)?;
    accounts::writable([owner, token_account])?;
    accounts::program(token_program, &token::ID)?;
    let vault = accounts::vault(context, vault_account, owner)?;
    let authority = accounts::vault_authority(context, vault_authority)?;
    authorize(&vault, owner, signers)?;
    pause::require_running(&authority, Clock::get()?.unix_timestamp)?;

    if *token_account.key() == vault.token_account()? {
        let tokens = accounts::vault_token_account(&vault, token_account)?;
        vault.check(tokens)?;
        let amount = surplus::of_own_account(&vault, tokens)?;
        if amount == 0 {
            return Err(VaultError::InvalidAmount);
        }
        return surplus::send(&vault, vault_account, token_account, recipient, amount);
    }

    let tokens = accounts::any_token_account(token_account)?;
    if tokens.owner()? != *vault.key() {
        return Err(AnchorError::ConstraintTokenOwner);
    }
    if vault.balances()?.yield_deposited != vault.yield_kept()? {
        return Err(VaultError::NonZeroBalance);
    }
    let (amount, closable) = (tokens.amount()?, !tokens.has_close_authority()?);
    if amount == 0 && !closable {
        return Err(VaultError::InvalidAmount);
    }
    surplus::send(&vault, vault_account, token_account, recipient, amount)?;
    if closable {
        let seeds = [VAULT, owner.key().as_bytes(), &[vault.bump()?]];
        token::close(token_account, owner, vault_account, &seeds);
    }
    Ok(())
}
