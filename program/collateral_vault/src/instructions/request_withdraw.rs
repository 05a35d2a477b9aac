use sdk::sysvar::Clock;
use sdk::{Context, Reader, Result};

use crate::accounts::signing_owners_vault;
use crate::errors::VaultError;
use crate::events::WithdrawRequestedEvent;
use crate::state::PendingWithdrawal;

/// Requests a withdrawal, which the minimum delay allows later. It sets nothing aside.
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
    vault.push_pending_withdrawal(PendingWithdrawal { amount, requested_at, executable_at })?;
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
