use sdk::{Context, Reader, Result};

use crate::accounts;

/// Succeeds for a vault. Clients read the account itself.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (&[vault], _) = accounts::take(context)?;
    accounts::any_vault(context, vault)?;
    Ok(())
}
