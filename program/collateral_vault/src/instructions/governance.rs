use sdk::{Context, Reader, Result};

use crate::accounts;
use crate::events::{CpiEnforcedSetEvent, FreezeFlagSetEvent, RiskLevelSetEvent};

/// Stops or resumes what programs do: locking, unlocking and transferring.
#[inline(never)]
pub fn set_freeze_flag(context: &Context, arguments: &mut Reader) -> Result {
    let freeze = arguments.bool()?;
    arguments.end()?;
    accounts::governed(context)?.set_freeze(freeze)?;
    FreezeFlagSetEvent { freeze }.emit();
    Ok(())
}

/// Sets whether `caller_program` must also name the calling program.
#[inline(never)]
pub fn set_cpi_enforced(context: &Context, arguments: &mut Reader) -> Result {
    let cpi_enforced = arguments.bool()?;
    arguments.end()?;
    accounts::governed(context)?.set_cpi_enforced(cpi_enforced)?;
    CpiEnforcedSetEvent { cpi_enforced }.emit();
    Ok(())
}

/// Stores a level for readers of the account. No instruction depends on it.
#[inline(never)]
pub fn set_risk_level(context: &Context, arguments: &mut Reader) -> Result {
    let risk_level = arguments.u8()?;
    arguments.end()?;
    accounts::governed(context)?.set_risk_level(risk_level)?;
    RiskLevelSetEvent { risk_level }.emit();
    Ok(())
}
