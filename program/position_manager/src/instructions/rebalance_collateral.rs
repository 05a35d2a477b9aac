use sdk::cpi::Use;
use sdk::{Context, Reader, Result, token};

use crate::errors::PositionError;
use crate::{accounts, collateral, vault};

/// Moves collateral from one vault to another, by order of governance.
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
        _,
    ) = accounts::take(context)?;
    accounts::signer(authority)?;
    accounts::writable([from_vault, to_vault, from_tokens, to_tokens])?;
    accounts::caller(context, caller)?;
    accounts::instructions_sysvar(instructions)?;
    accounts::program(token_program, &token::ID)?;
    accounts::program(vault_program, &vault::PROGRAM_ID)?;
    if accounts::vault_authority(vault_authority)?.governance()? != *authority.key() {
        return Err(PositionError::Unauthorized);
    }
    if amount == 0 {
        return Err(PositionError::InvalidAmount);
    }
    let call = [
        Use::readonly(caller),
        Use::readonly(vault_authority),
        Use::readonly(instructions),
        Use::writable(from_vault),
        Use::writable(to_vault),
        Use::writable(from_tokens),
        Use::writable(to_tokens),
        Use::readonly(token_program),
    ];
    collateral::transfer(&call, amount);
    Ok(())
}
