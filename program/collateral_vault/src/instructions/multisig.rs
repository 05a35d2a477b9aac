use sdk::{Context, Pubkey, Reader, Result};

use crate::accounts;
use crate::errors::VaultError;
use crate::state::Vault;

/// Replaces the signers and the threshold. With a threshold of zero the signers have no effect.
#[inline(never)]
pub fn set(context: &Context, arguments: &mut Reader) -> Result {
    let (signers, threshold) = (arguments.keys()?, arguments.u8()?);
    arguments.end()?;
    write(read(context)?, signers, threshold)
}

/// Removes the multisig, so that the owner and the delegates act alone again.
#[inline(never)]
pub fn disable(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    write(read(context)?, &[], 0)
}

#[inline(always)]
fn read<'a>(context: &Context<'a>) -> Result<Vault<'a>> {
    let (&[owner, vault], _) = accounts::take(context)?;
    accounts::signer(owner)?;
    accounts::writable([vault])?;
    accounts::vault(context, vault, owner)
}

#[inline(never)]
fn write(vault: Vault, signers: &[[u8; 32]], threshold: u8) -> Result {
    if usize::from(threshold) > signers.len() {
        return Err(VaultError::InvalidAmount);
    }
    let list = vault.multisig_signers();
    list.clear()?;
    for signer in signers {
        list.insert(&Pubkey(*signer))?;
    }
    vault.set_multisig_threshold(threshold)?;
    vault.check_books()
}
