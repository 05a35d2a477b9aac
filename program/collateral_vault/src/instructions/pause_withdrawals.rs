use sdk::sysvar::Clock;
use sdk::{Context, Reader, Result};

use crate::accounts;
use crate::errors::VaultError;
use crate::events::WithdrawalsPausedEvent;

const HOUR: i64 = 60 * 60;
const LONGEST: i64 = 72 * HOUR;
/// After a pause, owners have at least this time to leave before the next one.
const REST: i64 = 7 * 24 * HOUR;

/// Stops what owners and delegates take out, for a bounded time. Zero ends a pause before its time,
/// which brings the next one no nearer.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let seconds = arguments.i64()?;
    arguments.end()?;
    let authority = accounts::governed(context)?;
    if seconds < 0 {
        return Err(VaultError::InvalidAmount);
    }
    if seconds > LONGEST {
        return Err(VaultError::DurationTooLong);
    }
    let mut paused_until = 0;
    let mut pause_allowed_at = authority.pause_allowed_at()?;
    if seconds != 0 {
        let now = Clock::get()?.unix_timestamp;
        if now < pause_allowed_at {
            return Err(VaultError::NotExecutableNow);
        }
        paused_until = now.checked_add(seconds).ok_or(VaultError::Overflow)?;
        pause_allowed_at = paused_until.checked_add(REST).ok_or(VaultError::Overflow)?;
    }
    authority.set_withdrawals_paused_until(paused_until)?;
    authority.set_pause_allowed_at(pause_allowed_at)?;
    WithdrawalsPausedEvent { paused_until, pause_allowed_at }.emit();
    Ok(())
}
