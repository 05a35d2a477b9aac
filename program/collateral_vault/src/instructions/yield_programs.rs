use sdk::{Context, Reader, Result};

use crate::accounts;
use crate::errors::VaultError;
use crate::events::{YieldProgramAddedEvent, YieldProgramRemovedEvent};

/// Lets vaults deposit with a yield program.
#[inline(never)]
pub fn add(context: &Context, arguments: &mut Reader) -> Result {
    let program = arguments.key()?;
    arguments.end()?;
    accounts::governed(context)?.yield_whitelist()?.insert(&program)?;
    YieldProgramAddedEvent { program }.emit();
    Ok(())
}

#[inline(never)]
pub fn remove(context: &Context, arguments: &mut Reader) -> Result {
    let program = arguments.key()?;
    arguments.end()?;
    let programs = accounts::governed(context)?.yield_whitelist()?;
    programs.remove(programs.position(&program)?.ok_or(VaultError::NotFound)?)?;
    YieldProgramRemovedEvent { program }.emit();
    Ok(())
}
