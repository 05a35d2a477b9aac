use sdk::sysvar::Clock;
use sdk::{AnchorError, Context, Reader, Result};

use crate::authorization::authorize;
use crate::errors::VaultError;
use crate::events::{EmergencyWithdrawEvent, record_at, transaction_type};
use crate::instructions::exit::is_exit_valid;
use crate::payout::Payout;
use crate::{limits, pause};

/// Sends tokens to a token account of the owner. The owner may do so while nothing is locked or an
/// exit is valid, within multisig, delay and rate limit; governance also reaches locked tokens, past
/// all of these. Position summaries do not block it.
///
/// Remaining accounts: extra signers.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let amount = arguments.u64()?;
    arguments.end()?;
    let payout = Payout::read(context)?;
    let Payout { authority, vault, vault_authority, recipient, remaining, .. } = payout;
    let owner = vault.owner()?;

    if amount == 0 {
        return Err(VaultError::InvalidAmount);
    }
    if recipient.owner()? != owner {
        return Err(AnchorError::ConstraintTokenOwner);
    }
    let now = Clock::get()?.unix_timestamp;
    let mut balances = vault.balances()?;
    if *authority.key() == vault_authority.governance()? {
        balances.seize(amount)?;
    } else if *authority.key() != owner {
        return Err(VaultError::Unauthorized);
    } else if balances.locked != 0 && !is_exit_valid(&vault)? {
        return Err(VaultError::OpenPositionsExist);
    } else {
        pause::require_running(&vault_authority, now)?;
        authorize(&vault, authority, remaining)?;
        balances.withdraw(amount)?;
        limits::consume_requests(&vault, amount, now)?;
        limits::consume_rate(&vault, amount, now)?;
    }
    vault.set_balances(balances)?;
    payout.send(amount)?;

    EmergencyWithdrawEvent {
        vault: *vault.key(),
        owner,
        authority: *authority.key(),
        amount,
        new_total_balance: balances.total,
        new_available_balance: balances.available,
        new_locked_balance: balances.locked,
    }
    .emit();
    record_at(&vault, transaction_type::EMERGENCY_WITHDRAWAL, amount, now)
}
