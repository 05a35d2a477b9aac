use sdk::sysvar::Clock;
use sdk::{Context, Reader, Result};

use crate::authorization::authorize;
use crate::errors::VaultError;
use crate::events::{CollateralReleasedEvent, ExitRequestedEvent};
use crate::state::Vault;
use crate::{accounts, limits, positions};

/// How long an owner waits for an exit, in which positions can be settled and a mistake be undone.
const WAIT: i64 = 7 * 24 * 60 * 60;

/// Requests an exit, or starts its time again. While it is valid, the owner may release what no
/// position claims, and take what is available although something is locked.
///
/// Remaining accounts: extra signers.
#[inline(never)]
pub fn request(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let vault = accounts::signing_owners_vault(context)?;
    let (&[owner, _], signers) = accounts::take(context)?;
    authorize(&vault, owner, signers)?;
    let exit_at = Clock::get()?.unix_timestamp.checked_add(WAIT).ok_or(VaultError::Overflow)?;
    vault.set_exit_at(exit_at)?;
    vault.check_books()?;
    ExitRequestedEvent { vault: *vault.key(), owner: vault.owner()?, exit_at }.emit();
    Ok(())
}

/// Makes locked collateral available that no authorized program's summary claims.
///
/// Remaining accounts: one position summary for each authorized program.
#[inline(never)]
pub fn release_unclaimed(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let vault = accounts::signing_owners_vault(context)?;
    let (&[_, _, vault_authority], remaining) = accounts::take(context)?;
    let authority = accounts::vault_authority(context, vault_authority)?;
    if !is_exit_valid(&vault)? {
        return Err(VaultError::NotExecutableNow);
    }
    let (summaries, _) = positions::split(&authority, remaining)?;
    let mut balances = vault.balances()?;
    let claimed = positions::claimed(&vault, &authority, summaries)?;
    let amount = balances.locked.saturating_sub(claimed);
    if amount == 0 {
        return Err(VaultError::NotFound);
    }
    balances.unlock(amount)?;
    vault.set_balances(balances)?;
    vault.check_books()?;
    CollateralReleasedEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        amount,
        new_locked_balance: balances.locked,
        new_available_balance: balances.available,
    }
    .emit();
    Ok(())
}

#[inline(always)]
pub fn is_exit_valid(vault: &Vault) -> Result<bool> {
    let exit_at = vault.exit_at()?;
    Ok(exit_at != 0 && limits::is_valid(exit_at, Clock::get()?.unix_timestamp))
}
