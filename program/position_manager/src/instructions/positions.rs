use sdk::cpi::Use;
use sdk::{Context, Reader, Result};

use crate::collateral::Parties;
use crate::errors::PositionError;
use crate::summary::PositionSummary;
use crate::{accounts, collateral};

/// A change of the open positions, with its accounts checked and its signer authorized.
struct Change<'a> {
    summary: PositionSummary<'a>,
    amount: u64,
    parties: Parties<'a, 4>,
}

/// Opens a position and locks its collateral.
#[inline(never)]
pub fn open(context: &Context, arguments: &mut Reader) -> Result {
    let change = read(context, arguments)?;
    change.summary.open(change.amount)?;
    collateral::lock(&change.parties, change.amount)
}

/// Closes a position, or a part of one, and unlocks its collateral.
#[inline(never)]
pub fn close(context: &Context, arguments: &mut Reader) -> Result {
    let change = read(context, arguments)?;
    change.summary.close(change.amount)?;
    collateral::unlock(&change.parties, change.amount)
}

/// The vault program checks the authority account, which only that program reads.
#[inline(always)]
fn read<'a>(context: &Context<'a>, arguments: &mut Reader) -> Result<Change<'a>> {
    let amount = arguments.u64()?;
    arguments.end()?;
    let (
        &[caller, vault_authority, instructions, vault, summary, vault_program, authority],
        remaining,
    ) = accounts::take(context)?;
    accounts::signer(authority)?;
    accounts::writable([vault, summary])?;
    accounts::caller(context, caller)?;
    accounts::instructions_sysvar(instructions)?;
    let state = accounts::any_vault(vault)?;
    accounts::program(vault_program, &vault.owner())?;
    let summary = accounts::summary(context, summary, &state)?;
    if !state.may_trade(authority.key())? {
        return Err(PositionError::Unauthorized);
    }
    if amount == 0 {
        return Err(PositionError::InvalidAmount);
    }
    let named = [
        Use::readonly(caller),
        Use::readonly(vault_authority),
        Use::readonly(instructions),
        Use::writable(vault),
    ];
    let parties = Parties { caller, vault_program, named, remaining };
    Ok(Change { summary, amount, parties })
}
