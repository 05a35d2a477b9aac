use sdk::{Context, Reader, Result};

use crate::accounts;
use crate::guard::{self, GuardChange};

/// Replaces the signers and the threshold. With a threshold of zero the signers have no effect.
///
/// Remaining accounts, here and in `disable`: extra signers.
#[inline(never)]
pub fn set(context: &Context, arguments: &mut Reader) -> Result {
    let (signers, threshold) = (arguments.keys()?, arguments.u8()?);
    arguments.end()?;
    change(context, &GuardChange::Multisig { signers, threshold })
}

/// Removes the multisig, so that the owner and the delegates act alone again.
#[inline(never)]
pub fn disable(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    change(context, &GuardChange::Multisig { signers: &[], threshold: 0 })
}

#[inline(never)]
fn change(context: &Context, change: &GuardChange) -> Result {
    let (&[owner, vault], others) = accounts::take(context)?;
    accounts::signer(owner)?;
    accounts::writable([vault])?;
    guard::change(&accounts::vault(context, vault, owner)?, owner, others, change)
}
