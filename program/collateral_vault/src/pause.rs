//! The pause of withdrawals: for a bounded time, owners and delegates take nothing out.

use sdk::Result;

use crate::errors::VaultError;
use crate::state::VaultAuthority;

/// Requires that withdrawals are not paused at `now`.
#[inline(always)]
pub fn require_running(authority: &VaultAuthority, now: i64) -> Result {
    if now < authority.withdrawals_paused_until()? {
        return Err(VaultError::WithdrawalsPaused);
    }
    Ok(())
}
