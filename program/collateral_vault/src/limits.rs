//! An owner's limits against a stolen key: a delay on withdrawals and a rate limit.

use sdk::Result;

use crate::errors::VaultError;
use crate::state::Vault;

/// With a minimum delay, takes `amount` from matured requests, oldest first.
#[inline(always)]
pub fn consume_requests(vault: &Vault, amount: u64, now: i64) -> Result {
    if vault.min_withdraw_delay_seconds()? <= 0 {
        return Ok(());
    }
    let pending = vault.pending_withdrawals()?;
    let mut missing = amount;
    let mut index = 0;
    while missing > 0 && index < pending.len()? {
        let mut request = vault.pending_withdrawal(index)?;
        if request.executable_at > now {
            index += 1;
        } else if request.amount > missing {
            request.amount -= missing;
            missing = 0;
            vault.set_pending_withdrawal(index, request)?;
        } else {
            missing -= request.amount;
            pending.remove(index)?;
        }
    }
    if missing == 0 { Ok(()) } else { Err(VaultError::Unauthorized) }
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
