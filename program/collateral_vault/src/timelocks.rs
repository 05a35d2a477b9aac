//! Release of matured timelocks.

use sdk::Result;

use crate::events::TimelocksReleasedEvent;
use crate::state::{Balances, Vault};

/// Moves matured timelocks to available and emits an event if there were any.
#[inline(always)]
pub fn release_matured(vault: &Vault, balances: &mut Balances, now: i64) -> Result {
    let (released_total, count) = vault.release_timelocks(balances, now)?;
    if count > 0 {
        TimelocksReleasedEvent {
            vault: *vault.key(),
            owner: vault.owner()?,
            released_total,
            remaining_timelocks: vault.timelocks()?.count()?,
        }
        .emit();
    }
    Ok(())
}
