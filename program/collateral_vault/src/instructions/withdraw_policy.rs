use sdk::{Context, Reader, Result};

use crate::accounts::{signing_owner, signing_owners_vault};
use crate::errors::VaultError;
use crate::events::WithdrawWhitelistUpdatedEvent;
use crate::guard::{self, GuardChange};

/// Requires every withdrawal to have a request of this age. Zero removes the requirement.
///
/// Remaining accounts, here and in all that may loosen: extra signers.
#[inline(never)]
pub fn set_min_delay(context: &Context, arguments: &mut Reader) -> Result {
    let seconds = arguments.i64()?;
    arguments.end()?;
    change(context, &GuardChange::WithdrawMinDelay { seconds })
}

/// Limits what leaves within a window, which starts now. Zeros remove the limit.
#[inline(never)]
pub fn set_rate_limit(context: &Context, arguments: &mut Reader) -> Result {
    let (window_seconds, max_amount) = (arguments.u32()?, arguments.u64()?);
    arguments.end()?;
    change(context, &GuardChange::WithdrawRateLimit { window_seconds, max_amount })
}

/// Sets how much may be transferred beyond what is locked.
#[inline(never)]
pub fn set_transfer_allowance(context: &Context, arguments: &mut Reader) -> Result {
    let amount = arguments.u64()?;
    arguments.end()?;
    change(context, &GuardChange::TransferAllowance { amount })
}

/// Also allows withdrawals to the token accounts of `address`.
#[inline(never)]
pub fn add_to_whitelist(context: &Context, arguments: &mut Reader) -> Result {
    let address = arguments.key()?;
    arguments.end()?;
    change(context, &GuardChange::WhitelistAddition { address })
}

#[inline(always)]
fn change(context: &Context, change: &GuardChange) -> Result {
    let (owner, vault, others) = signing_owner(context)?;
    guard::change(&vault, owner, others, change)
}

#[inline(never)]
pub fn remove_from_whitelist(context: &Context, arguments: &mut Reader) -> Result {
    let address = arguments.key()?;
    arguments.end()?;
    let vault = signing_owners_vault(context)?;
    let whitelist = vault.withdraw_whitelist()?;
    whitelist.remove(whitelist.position(&address)?.ok_or(VaultError::NotFound)?)?;
    vault.check_books()?;
    WithdrawWhitelistUpdatedEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        address,
        added: false,
        new_len: whitelist.count()?,
    }
    .emit();
    Ok(())
}
