//! An owner's limits against a stolen key: a delay on withdrawals and a rate limit.

use sdk::Result;

use crate::errors::VaultError;
use crate::state::{PendingWithdrawal, Vault};

/// For how long a request or an exit may be used once its time has come.
const VALIDITY: i64 = 7 * 24 * 60 * 60;

/// Whether what may be used from `start` on may be used now.
#[inline(always)]
pub fn is_valid(start: i64, now: i64) -> bool {
    start <= now && !has_expired(start, now)
}

#[inline(always)]
fn has_expired(start: i64, now: i64) -> bool {
    now.saturating_sub(start) > VALIDITY
}

/// With a minimum delay, takes `amount` from matured requests that have not expired, oldest first.
#[inline(always)]
pub fn consume_requests(vault: &Vault, amount: u64, now: i64) -> Result {
    if vault.min_withdraw_delay_seconds()? <= 0 {
        return Ok(());
    }
    let pending = vault.pending_withdrawals()?;
    let length = pending.len()?;
    let (mut missing, mut index, mut kept) = (amount, 0, 0);
    while missing > 0 && index < length {
        let mut request = PendingWithdrawal::read(pending, index)?;
        if !is_valid(request.executable_at, now) {
            if kept < index {
                request.write(pending, kept)?;
            }
            kept += 1;
        } else if request.amount > missing {
            request.amount -= missing;
            missing = 0;
            request.write(pending, index)?;
            break;
        } else {
            missing -= request.amount;
        }
        index += 1;
    }
    if missing > 0 {
        return Err(VaultError::Unauthorized);
    }
    // Requests of before the sum was kept are not in it.
    vault.set_requested_total(vault.requested_total()?.saturating_sub(amount))?;
    if kept < index { pending.remove_range(kept, index) } else { Ok(()) }
}

/// Removes expired requests, and counts the others again.
#[inline(never)]
pub fn purge_requests(vault: &Vault, now: i64) -> Result {
    let pending = vault.pending_withdrawals()?;
    let length = pending.len()?;
    let (mut total, mut kept) = (0u64, 0);
    for index in 0..length {
        let request = PendingWithdrawal::read(pending, index)?;
        if !has_expired(request.executable_at, now) {
            total = total.saturating_add(request.amount);
            request.write(pending, kept)?;
            kept += 1;
        }
    }
    vault.set_requested_total(total)?;
    pending.remove_range(kept, length)
}

/// With a rate limit (window and amount both set), adds `amount` to the running window.
#[inline(always)]
pub fn consume_rate(vault: &Vault, amount: u64, now: i64) -> Result {
    let mut rate = vault.rate_limit()?;
    if !rate.limits() {
        return Ok(());
    }
    let elapsed = now.saturating_sub(rate.window_start);
    if elapsed >= i64::from(rate.window_seconds) {
        rate.window_start = now;
        rate.withdrawn = 0;
    }
    rate.withdrawn = rate.withdrawn.checked_add(amount).ok_or(VaultError::Overflow)?;
    if rate.withdrawn > rate.limit {
        return Err(VaultError::Unauthorized);
    }
    vault.set_rate_limit(rate)
}
