use sdk::cpi::Use;
use sdk::{Context, Reader, Result, token};

use super::settle_position_summary::settle;
use crate::collateral::Parties;
use crate::errors::PositionError;
use crate::{accounts, collateral};

/// Moves collateral from one vault to another, by order of governance, and then settles the
/// summary of the vault that gave it, if that is among the remaining accounts.
///
/// The vault program checks the vaults and their token accounts, which only that program reads.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let amount = arguments.u64()?;
    arguments.end()?;
    let (
        &[
            caller,
            vault_authority,
            instructions,
            from_vault,
            to_vault,
            from_tokens,
            to_tokens,
            token_program,
            vault_program,
            authority,
        ],
        remaining,
    ) = accounts::take(context)?;
    accounts::signer(authority)?;
    accounts::writable([from_vault, to_vault, from_tokens, to_tokens])?;
    accounts::caller(context, caller)?;
    accounts::instructions_sysvar(instructions)?;
    accounts::program(token_program, &token::ID)?;
    let state = accounts::vault_authority(vault_authority)?;
    accounts::program(vault_program, &vault_authority.owner())?;
    if state.governance()? != *authority.key() {
        return Err(PositionError::Unauthorized);
    }
    if amount == 0 {
        return Err(PositionError::InvalidAmount);
    }
    let named = [
        Use::readonly(caller),
        Use::readonly(vault_authority),
        Use::readonly(instructions),
        Use::writable(from_vault),
        Use::writable(to_vault),
        Use::writable(from_tokens),
        Use::writable(to_tokens),
        Use::readonly(token_program),
    ];
    let parties = Parties { caller, vault_program, named, remaining };
    collateral::transfer(&parties, amount)?;
    match remaining.iter().find(|account| account.owned_by(context.program_id)) {
        Some(summary) => settle(context, from_vault, *summary).map(|_| ()),
        None => Ok(()),
    }
}
