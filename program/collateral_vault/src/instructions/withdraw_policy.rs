use sdk::sysvar::Clock;
use sdk::{Context, Reader, Result};

use crate::accounts::signing_owners_vault;
use crate::errors::VaultError;
use crate::events::{
    WithdrawMinDelaySetEvent, WithdrawRateLimitSetEvent, WithdrawWhitelistUpdatedEvent,
};
use crate::state::RateLimit;

/// Requires every withdrawal to have a request of this age. Zero removes the requirement.
#[inline(never)]
pub fn set_min_delay(context: &Context, arguments: &mut Reader) -> Result {
    let seconds = arguments.i64()?;
    arguments.end()?;
    let vault = signing_owners_vault(context)?;
    if seconds < 0 {
        return Err(VaultError::InvalidAmount);
    }
    vault.set_min_withdraw_delay_seconds(seconds)?;
    vault.check_books()?;
    WithdrawMinDelaySetEvent { vault: *vault.key(), owner: vault.owner()?, seconds }.emit();
    Ok(())
}

/// Limits what leaves within a window, which starts now. Zeros remove the limit.
#[inline(never)]
pub fn set_rate_limit(context: &Context, arguments: &mut Reader) -> Result {
    let (window_seconds, max_amount) = (arguments.u32()?, arguments.u64()?);
    arguments.end()?;
    let vault = signing_owners_vault(context)?;
    vault.set_rate_limit(RateLimit {
        window_seconds,
        limit: max_amount,
        window_start: Clock::get()?.unix_timestamp,
        withdrawn: 0,
    })?;
    vault.check_books()?;
    let (vault, owner) = (*vault.key(), vault.owner()?);
    WithdrawRateLimitSetEvent { vault, owner, window_seconds, max_amount }.emit();
    Ok(())
}

/// Also allows withdrawals to the token accounts of `address`.
#[inline(never)]
pub fn add_to_whitelist(context: &Context, arguments: &mut Reader) -> Result {
    change_whitelist(context, arguments, true)
}

#[inline(never)]
pub fn remove_from_whitelist(context: &Context, arguments: &mut Reader) -> Result {
    change_whitelist(context, arguments, false)
}

#[inline(always)]
fn change_whitelist(context: &Context, arguments: &mut Reader, added: bool) -> Result {
    let address = arguments.key()?;
    arguments.end()?;
    let vault = signing_owners_vault(context)?;
    let whitelist = vault.withdraw_whitelist()?;
    if added {
        whitelist.insert(&address)?;
    } else {
        whitelist.remove(whitelist.position(&address)?.ok_or(VaultError::NotFound)?)?;
    }
    vault.check_books()?;
    WithdrawWhitelistUpdatedEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        address,
        added,
        new_len: whitelist.count()?,
    }
    .emit();
    Ok(())
}
