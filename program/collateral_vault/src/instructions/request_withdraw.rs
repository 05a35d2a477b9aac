use sdk::sysvar::Clock;
use sdk::{Context, Reader, Result};

use crate::accounts::signing_owners_vault;
use crate::errors::VaultError;
use crate::events::{WithdrawRequestCancelledEvent, WithdrawRequestedEvent};
use crate::limits::purge_requests;
use crate::state::{PendingWithdrawal, Vault};

/// Requests a withdrawal, which the minimum delay allows later. It sets nothing aside, but all
/// requests together are at most the total balance. An expired one makes room for a new one.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let amount = arguments.u64()?;
    arguments.end()?;
    let vault = signing_owners_vault(context)?;
    if amount == 0 {
        return Err(VaultError::InvalidAmount);
    }
    let delay = vault.min_withdraw_delay_seconds()?;
    if delay <= 0 {
        return Err(VaultError::Unauthorized);
    }
    let requested_at = Clock::get()?.unix_timestamp;
    let executable_at = requested_at.checked_add(delay).ok_or(VaultError::Overflow)?;
    let total = vault.balances()?.total;
    let mut requested = requested_with(&vault, amount)?;
    if requested.is_none_or(|sum| sum > total) || vault.pending_withdrawals()?.is_full()? {
        purge_requests(&vault, requested_at)?;
        requested = requested_with(&vault, amount)?;
    }
    let requested = requested.filter(|sum| *sum <= total).ok_or(VaultError::InsufficientFunds)?;
    vault.set_requested_total(requested)?;
    let request = PendingWithdrawal { amount, requested_at, executable_at };
    vault.pending_withdrawals()?.push(request.bytes())?;
    vault.check_books()?;

    WithdrawRequestedEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        amount,
        requested_at,
        executable_at,
        remaining_pending: vault.pending_withdrawals()?.count()?,
    }
    .emit();
    Ok(())
}

/// The sum of the requests and `amount`, unless it does not fit.
#[inline(always)]
fn requested_with(vault: &Vault, amount: u64) -> Result<Option<u64>> {
    Ok(vault.requested_total()?.checked_add(amount))
}

/// Removes the first request with this amount left and this time.
#[inline(never)]
pub fn cancel(context: &Context, arguments: &mut Reader) -> Result {
    let (amount, executable_at) = (arguments.u64()?, arguments.i64()?);
    arguments.end()?;
    let vault = signing_owners_vault(context)?;
    let pending = vault.pending_withdrawals()?;
    let index = position(&vault, amount, executable_at)?.ok_or(VaultError::NotFound)?;
    vault.set_requested_total(vault.requested_total()?.saturating_sub(amount))?;
    pending.remove(index)?;
    vault.check_books()?;

    WithdrawRequestCancelledEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        amount,
        executable_at,
        remaining_pending: pending.count()?,
    }
    .emit();
    Ok(())
}

#[inline(always)]
fn position(vault: &Vault, amount: u64, executable_at: i64) -> Result<Option<usize>> {
    let pending = vault.pending_withdrawals()?;
    for index in 0..pending.len()? {
        let request = PendingWithdrawal::read(pending, index)?;
        if request.amount == amount && request.executable_at == executable_at {
            return Ok(Some(index));
        }
    }
    Ok(None)
}
