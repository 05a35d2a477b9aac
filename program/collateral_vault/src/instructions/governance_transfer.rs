use sdk::{Context, Reader, Result};

use crate::errors::VaultError;
use crate::events::{GovernanceAcceptedEvent, GovernanceProposedEvent};
use crate::{accounts, upgrade_authority};

/// Names the key that may accept governance; zeros name none. Besides governance, the program's
/// upgrade authority may do so: that is how a lost or leaked governance key is replaced.
///
/// Remaining accounts, for the upgrade authority only: the program-data account.
#[inline(never)]
pub fn propose(context: &Context, arguments: &mut Reader) -> Result {
    let proposed = arguments.key()?;
    arguments.end()?;
    let (&[signer, account], remaining) = accounts::take(context)?;
    accounts::signer(signer)?;
    accounts::writable([signer, account])?;
    let authority = accounts::vault_authority(context, account)?;
    if *signer.key() != authority.governance()? {
        if remaining.is_empty() {
            return Err(VaultError::Unauthorized);
        }
        upgrade_authority::require(context, signer, remaining)?;
    }
    authority.set_pending_governance(&proposed)?;
    GovernanceProposedEvent { authority: *signer.key(), proposed }.emit();
    Ok(())
}

/// Makes the proposed key governance, which shows that somebody can sign with it. No signer has the
/// address of zeros, so that nobody accepts what was not proposed.
#[inline(never)]
pub fn accept(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (&[signer, account], _) = accounts::take(context)?;
    accounts::signer(signer)?;
    accounts::writable([signer, account])?;
    let authority = accounts::vault_authority(context, account)?;
    let new_governance = authority.pending_governance()?;
    if *signer.key() != new_governance {
        return Err(VaultError::Unauthorized);
    }
    let old_governance = authority.governance()?;
    authority.set_governance(&new_governance)?;
    authority.set_pending_governance(&sdk::system::ID)?;
    GovernanceAcceptedEvent { old_governance, new_governance }.emit();
    Ok(())
}
