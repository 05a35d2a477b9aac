use sdk::{AnchorError, Context, Pubkey, Reader, Result, system, token};

use crate::accounts;
use crate::errors::VaultError;
use crate::events::{AuthorizedProgramAddedEvent, AuthorizedProgramRemovedEvent};

/// Lets a program lock, unlock and transfer collateral. Withdrawals then need its summaries.
#[inline(never)]
pub fn add(context: &Context, arguments: &mut Reader) -> Result {
    let program = arguments.key()?;
    arguments.end()?;
    let authority = accounts::governed(context)?;
    require_possible(context, &program)?;
    authority.authorized_programs().insert(&program)?;
    AuthorizedProgramAddedEvent { program }.emit();
    Ok(())
}

/// Refuses programs that can neither lock collateral nor keep a summary, so that listing one is a
/// mistake. The system program's address is the key of zeros.
#[inline(always)]
pub fn require_possible(context: &Context, program: &Pubkey) -> Result {
    let impossible = [&system::ID, &token::ID, context.program_id];
    if impossible.contains(&program) { Err(AnchorError::InvalidProgramId) } else { Ok(()) }
}

#[inline(never)]
pub fn remove(context: &Context, arguments: &mut Reader) -> Result {
    let program = arguments.key()?;
    arguments.end()?;
    let programs = accounts::governed(context)?.authorized_programs();
    programs.remove(programs.position(&program)?.ok_or(VaultError::NotFound)?)?;
    AuthorizedProgramRemovedEvent { program }.emit();
    Ok(())
}
