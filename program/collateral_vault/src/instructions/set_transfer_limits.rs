use sdk::sysvar::Clock;
use sdk::{AnchorError, Context, Reader, Result, pda, system};

use crate::accounts::{self, TRANSFER_LIMITS};
use crate::events::TransferLimitsSetEvent;
use crate::state::{Limits, TransferLimits};

/// Limits what may be transferred within a day, out of one vault and out of all. The first limits
/// and lower ones are in force at once, higher ones after a delay.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let wanted = Limits { vault_daily: arguments.u64()?, total_daily: arguments.u64()? };
    arguments.end()?;
    let authority = accounts::governed(context)?;
    let (&[governance, _, account, system_program], _) = accounts::take(context)?;
    accounts::writable([account])?;
    accounts::program(system_program, &system::ID)?;

    let (limits, current) = if authority.transfers_limited()? {
        let limits = accounts::transfer_limits(context, account)?;
        (limits, limits.set(wanted, Clock::get()?.unix_timestamp)?)
    } else {
        let (address, bump) = pda::find([TRANSFER_LIMITS], context.program_id)?;
        if address != *account.key() {
            return Err(AnchorError::ConstraintSeeds);
        }
        let length = TransferLimits::LENGTH as u64;
        let seeds = [TRANSFER_LIMITS, &[bump]];
        system::create_pda(governance, account, length, context.program_id, &seeds)?;
        authority.set_transfers_limited()?;
        (TransferLimits::create(account, bump, wanted)?, wanted)
    };
    let (pending, pending_at) = limits.pending()?;
    TransferLimitsSetEvent {
        vault_daily: current.vault_daily,
        total_daily: current.total_daily,
        pending_vault_daily: pending.vault_daily,
        pending_total_daily: pending.total_daily,
        pending_at,
    }
    .emit();
    Ok(())
}
