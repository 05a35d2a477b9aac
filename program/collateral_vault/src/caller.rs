//! Which program may move collateral: one on the authority's list that makes this call.

use sdk::sysvar::{self, Instructions};
use sdk::{Account, Context, Pubkey, Result, pda};

use crate::errors::VaultError;
use crate::state::VaultAuthority;

/// The stack height of a call made by a top-level instruction.
const CALLED_BY_TOP_LEVEL: u64 = 2;

const SEED: &[u8] = b"caller";

/// Returns the caller: the program of the running top-level instruction, if the stack height shows
/// that it called this program directly. At any height it is also `caller_program`, if that program
/// signs among the `remaining` accounts.
#[inline(always)]
pub fn require_authorized(
    context: &Context,
    authority: &VaultAuthority,
    caller_program: Account,
    instructions: &Instructions,
    remaining: &[Account],
) -> Result<Pubkey> {
    let (programs, named) = (authority.authorized_programs(), caller_program.key());
    if sysvar::stack_height() == CALLED_BY_TOP_LEVEL {
        let caller = instructions.running_program()?;
        let is_named = !authority.cpi_enforced()? || caller == *named;
        if is_named && programs.contains(&caller)? {
            return Ok(caller);
        }
    }
    if signs(context, named, remaining)? && programs.contains(named)? {
        return Ok(*named);
    }
    Err(VaultError::UnauthorizedProgram)
}

/// True if `program` signs with its PDA for calls of this program. The PDA is bound to this
/// program: one that signs in a call of another vault program has another address.
#[inline(always)]
fn signs(context: &Context, program: &Pubkey, remaining: &[Account]) -> Result<bool> {
    if !remaining.iter().any(|account| account.is_signer()) {
        return Ok(false);
    }
    let (address, _) = pda::find([SEED, context.program_id.as_bytes()], program)?;
    Ok(remaining.iter().any(|account| account.is_signer() && *account.key() == address))
}
