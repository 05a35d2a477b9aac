use sdk::{AnchorError, Context, Reader, Result, pda, system};

use crate::accounts;
use crate::errors::PositionError;
use crate::summary::PositionSummary;

/// Creates the summary of a vault, with nothing open. Anyone may pay for it.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (&[payer, vault, account, system_program], _) = accounts::take(context)?;
    accounts::signer(payer)?;
    accounts::writable([payer, account])?;
    accounts::program(system_program, &system::ID)?;
    let vault = accounts::any_vault(vault)?;
    let [name, key] = accounts::summary_seeds(&vault);
    let (address, bump) = pda::find([name, key], context.program_id)?;
    if address != *account.key() {
        return Err(AnchorError::ConstraintSeeds);
    }
    if account.owned_by(context.program_id) {
        return Err(PositionError::AlreadyInitialized);
    }

    let length = PositionSummary::LENGTH as u64;
    system::create_pda(payer, account, length, context.program_id, &[name, key, &[bump]])?;
    PositionSummary::create(account, &vault)
}
