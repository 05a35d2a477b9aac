use sdk::sysvar::Clock;
use sdk::{Account, Context, Reader, Result};

use crate::accounts;
use crate::authorization::authorize;
use crate::errors::VaultError;
use crate::events::{TimelockCancelledEvent, TimelockScheduledEvent};
use crate::state::{Timelock, Vault, add};
use crate::timelocks::release_matured;

/// How long a delegate may lock tokens, in seconds.
const LONGEST_BY_DELEGATE: i64 = 365 * 24 * 60 * 60;

/// Locks available tokens for a time, in which nobody can move them. What enough signers of a
/// multisig schedule is the owner's own.
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
    let by_delegate = vault.multisig_threshold()? == 0 && *authority.key() != vault.owner()?;
    if by_delegate && duration > LONGEST_BY_DELEGATE {
        return Err(VaultError::DurationTooLong);
    }
    let now = Clock::get()?.unix_timestamp;
    let unlock_time = now.checked_add(duration).ok_or(VaultError::Overflow)?;
    let mut balances = vault.balances()?;
    balances.take(amount)?;
    vault.push_timelock(Timelock { amount, unlock_time }, by_delegate)?;
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

/// Releases a timelock before its time. A delegate's ends at once, and so does the owner's own
/// without a minimum delay; with one, the owner's own ends after that delay at the latest.
///
/// Remaining accounts: extra signers.
#[inline(never)]
pub fn cancel(context: &Context, arguments: &mut Reader) -> Result {
    let (amount, unlock_time) = (arguments.u64()?, arguments.i64()?);
    arguments.end()?;
    let vault = accounts::signing_owners_vault(context)?;
    let (&[owner, _], signers) = accounts::take(context)?;
    authorize(&vault, owner, signers)?;
    let now = Clock::get()?.unix_timestamp;
    let after_delay = now.saturating_add(vault.min_withdraw_delay_seconds()?);
    let timelock = Timelock { amount, unlock_time };
    let (index, earliest) = choose(&vault, timelock, now, after_delay)?;
    let new_unlock_time = unlock_time.min(earliest);
    let mut balances = vault.balances()?;
    if new_unlock_time <= now {
        vault.remove_timelock(index)?;
        balances.available = add(balances.available, amount)?;
        vault.set_balances(balances)?;
    } else {
        Timelock { amount, unlock_time: new_unlock_time }.write(vault.timelocks()?, index)?;
    }
    vault.check_books()?;

    TimelockCancelledEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        amount,
        unlock_time,
        new_unlock_time,
        new_available_balance: balances.available,
        remaining_timelocks: vault.timelocks()?.count()?,
    }
    .emit();
    Ok(())
}

/// The timelock to cancel and from when it may end. Of equal ones the owner's goes first, unless
/// the delay leaves it as it is: then the delegate's could never be reached.
#[inline(always)]
fn choose(vault: &Vault, wanted: Timelock, now: i64, after_delay: i64) -> Result<(usize, i64)> {
    let owners = vault.find_timelock(wanted, false)?;
    let unchanged = now < wanted.unlock_time && wanted.unlock_time <= after_delay;
    if let Some(index) = owners
        && !unchanged
    {
        return Ok((index, after_delay));
    }
    match vault.find_timelock(wanted, true)? {
        Some(index) => Ok((index, now)),
        None if owners.is_some() => Err(VaultError::GuardInForce),
        None => Err(VaultError::NotFound),
    }
}

#[inline(always)]
fn read<'a>(context: &Context<'a>) -> Result<(Account<'a>, Vault<'a>, &'a [Account<'a>])> {
    let (&[authority, owner, vault], remaining) = accounts::take(context)?;
    accounts::signer(authority)?;
    accounts::writable([authority, vault])?;
    Ok((authority, accounts::vault(context, vault, owner)?, remaining))
}
