use sdk::{Context, Reader, Result};

use crate::accounts;
use crate::errors::VaultError;
use crate::events::{AuthorizedProgramAddedEvent, AuthorizedProgramRemovedEvent};

/// Lets a program lock, unlock and transfer collateral. Withdrawals then need its summaries.
#[inline(never)]
pub fn add(context: &Context, arguments: &mut Reader) -> Result {
    let program = arguments.key()?;
    arguments.end()?;
    accounts::governed(context)?.authorized_programs().insert(&program)?;
    AuthorizedProgramAddedEvent { program }.emit();
    Ok(())
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
