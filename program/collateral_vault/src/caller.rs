//! Which program may move collateral: one on the authority's list that calls this program itself.

use sdk::sysvar::{self, Instructions};
use sdk::{Account, Pubkey, Result};

use crate::errors::VaultError;
use crate::state::VaultAuthority;

/// The stack height of a call made by a top-level instruction.
const CALLED_BY_TOP_LEVEL: u64 = 2;

/// Returns the caller: the program of the running top-level instruction. The stack height shows that
/// it called this program directly.
#[inline(always)]
pub fn require_authorized(
    authority: &VaultAuthority,
    caller_program: Account,
    instructions: &Instructions,
) -> Result<Pubkey> {
    if sysvar::stack_height() != CALLED_BY_TOP_LEVEL {
        return Err(VaultError::UnauthorizedProgram);
    }
    let caller = instructions.running_program()?;
    let named = !authority.cpi_enforced()? || caller == *caller_program.key();
    if named && authority.authorized_programs().contains(&caller)? {
        return Ok(caller);
    }
    Err(VaultError::UnauthorizedProgram)
}
