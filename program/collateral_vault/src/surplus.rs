//! Tokens that a vault holds beyond its balances, since anyone can send them.

use sdk::token::{self, TokenAccount};
use sdk::{Account, AnchorError, Result};

use crate::accounts::{self, VAULT};
use crate::errors::VaultError;
use crate::events::SweptEvent;
use crate::state::Vault;

/// What the vault's own token account holds beyond the balances that are not lent.
#[inline(always)]
pub fn of_own_account(vault: &Vault, tokens: TokenAccount) -> Result<u64> {
    let balances = vault.balances()?;
    let lent = balances.yield_deposited.checked_sub(vault.yield_kept()?);
    let held = lent.and_then(|lent| balances.total.checked_sub(lent));
    let surplus = held.and_then(|held| tokens.amount().ok()?.checked_sub(held));
    surplus.ok_or(VaultError::InvariantViolation)
}

/// Sends `amount` from a token account of the vault to one of the owner.
#[inline(never)]
pub fn send(
    vault: &Vault,
    vault_account: Account,
    source: Account,
    recipient: Account,
    amount: u64,
) -> Result {
    let (owner, mint) = (vault.owner()?, TokenAccount::read(source)?.mint()?);
    accounts::writable([recipient])?;
    let target = accounts::any_token_account(recipient)?;
    if target.mint()? != mint {
        return Err(AnchorError::ConstraintTokenMint);
    }
    if target.owner()? != owner {
        return Err(AnchorError::ConstraintTokenOwner);
    }
    let seeds = [VAULT, owner.as_bytes(), &[vault.bump()?]];
    token::transfer(source, recipient, vault_account, amount, &seeds);
    SweptEvent { vault: *vault.key(), owner, mint, amount, recipient: *recipient.key() }.emit();
    Ok(())
}
