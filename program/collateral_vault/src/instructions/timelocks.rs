use sdk::sysvar::Clock;
use sdk::{Account, Context, Reader, Result};

use crate::accounts;
use crate::authorization::authorize;
use crate::errors::VaultError;
use crate::events::TimelockScheduledEvent;
use crate::state::Vault;
use crate::timelocks::release_matured;

/// Locks available tokens for a time, in which nobody can move them.
///
/// Remaining accounts: extra signers.
#[inline(never)]
pub fn schedule(context: &Context, arguments: &mut Reader) -> Result {
    let (amount, duration) = (arguments.u64()?, arguments.i64()?);
    arguments.end()?;
    let (authority, vault, signers) = read(context)?;
    if amount == 0 || duration < 0 {
        return Err(VaultError::InvalidAmount);
    }
    authorize(&vault, authority, signers)?;
    let now = Clock::get()?.unix_timestamp;
    let unlock_time = now.checked_add(duration).ok_or(VaultError::Overflow)?;
    let mut balances = vault.balances()?;
    balances.take(amount)?;
    vault.push_timelock(amount, unlock_time)?;
    vault.set_balances(balances)?;
    vault.check_books()?;

    TimelockScheduledEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        amount,
        unlock_time,
        remaining_timelocks: vault.timelocks()?.count()?,
    }
    .emit();
    Ok(())
}

/// Makes the tokens of matured timelocks available. Anyone may call it, since only time decides.
#[inline(never)]
pub fn release(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (_, vault, _) = read(context)?;
    let mut balances = vault.balances()?;
    release_matured(&vault, &mut balances, Clock::get()?.unix_timestamp)?;
    vault.set_balances(balances)?;
    vault.check_books()
}

#[inline(always)]
fn read<'a>(context: &Context<'a>) -> Result<(Account<'a>, Vault<'a>, &'a [Account<'a>])> {
    let (&[authority, owner, vault], remaining) = accounts::take(context)?;
    accounts::signer(authority)?;
    accounts::writable([authority, vault])?;
    Ok((authority, accounts::vault(context, vault, owner)?, remaining))
}
