use sdk::{Account, Context, Reader, Result};

use crate::accounts;
use crate::errors::PositionError;

/// Releases a summary from what is no longer locked in its vault, because governance took or
/// transferred it. Anyone may do so.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (&[vault, summary], _) = accounts::take(context)?;
    if settle(context, vault, summary)? { Ok(()) } else { Err(PositionError::NotFound) }
}

/// Settles the summary of `vault`. Returns whether that changed it.
#[inline(always)]
pub fn settle(context: &Context, vault: Account, summary: Account) -> Result<bool> {
    accounts::writable([summary])?;
    let vault = accounts::any_vault(vault)?;
    accounts::summary(context, summary, &vault)?.settle(vault.locked()?)
}
