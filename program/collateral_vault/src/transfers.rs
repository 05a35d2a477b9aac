//! What may be transferred out of a vault without its owner's signature.

use sdk::sysvar::Clock;
use sdk::{Account, AnchorError, Context, Result};

use crate::accounts;
use crate::errors::VaultError;
use crate::state::{Vault, VaultAuthority, count_in_window};

/// An allowance that is never used up.
const UNLIMITED: u64 = u64::MAX;

/// Takes from the owner's allowance what a transfer moves beyond what was locked.
#[inline(always)]
pub fn consume_allowance(from: &Vault, unlocked: u64) -> Result {
    if unlocked == 0 {
        return Ok(());
    }
    match from.transfer_allowance()? {
        UNLIMITED => Ok(()),
        allowance => {
            let left = allowance.checked_sub(unlocked).ok_or(VaultError::TransferNotAgreed)?;
            from.set_transfer_allowance(left)
        }
    }
}

/// With transfer limits, counts `amount` in the windows of the vault and of all vaults. The limits'
/// account is then among the `remaining` ones.
#[inline(always)]
pub fn consume_limits(
    context: &Context,
    remaining: &[Account],
    authority: &VaultAuthority,
    from: &Vault,
    amount: u64,
) -> Result {
    if !authority.transfers_limited()? {
        return Ok(());
    }
    let account = remaining
        .iter()
        .find(|account| account.owned_by(context.program_id))
        .ok_or(AnchorError::AccountNotEnoughKeys)?;
    let limits = accounts::transfer_limits(context, *account)?;
    let now = Clock::get()?.unix_timestamp;
    let current = limits.current(now)?;
    let window = (from.transfer_window_start()?, from.transferred_in_window()?);
    let (start, transferred) = count_in_window(window, amount, current.vault_daily, now)?;
    from.set_transfer_window_start(start)?;
    from.set_transferred_in_window(transferred)?;
    limits.count(amount, current.total_daily, now)
}
