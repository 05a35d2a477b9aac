use sdk::sysvar::Clock;
use sdk::{Context, Reader, Result};

use crate::accounts;
use crate::errors::PoolError;
use crate::events::RateSet;
use crate::interest::MAX_RATE_BPS;

/// Sets the rate from now on. Interest until now accrues at the old rate.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let new_rate_bps = arguments.u32()?;
    arguments.end()?;
    let (&[admin, pool], _) = accounts::take(context)?;
    accounts::signer(admin)?;
    accounts::writable([pool])?;
    let pool = accounts::pool(context, pool)?;

    if *admin.key() != pool.admin()? {
        return Err(PoolError::Unauthorized);
    }
    if new_rate_bps > MAX_RATE_BPS {
        return Err(PoolError::RateTooHigh);
    }
    let old_rate_bps = pool.rate_bps()?;
    pool.accrue(Clock::get()?.unix_timestamp)?;
    pool.set_rate_bps(new_rate_bps)?;
    RateSet { pool: *pool.key(), old_rate_bps, new_rate_bps }.emit();
    Ok(())
}
