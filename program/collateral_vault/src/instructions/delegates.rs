use sdk::{Context, Pubkey, Reader, Result};

use crate::accounts;
use crate::errors::VaultError;
use crate::events::{DelegateAddedEvent, DelegateRemovedEvent};
use crate::state::Vault;

/// Lets another key act for the owner. Tokens still go only where the owner allows.
#[inline(never)]
pub fn add(context: &Context, arguments: &mut Reader) -> Result {
    let (vault, delegate) = read(context, arguments)?;
    let owner = vault.owner()?;
    if delegate == owner {
        return Err(VaultError::AlreadyExists); // the owner needs no entry
    }
    vault.delegates()?.insert(&delegate)?;
    vault.check_books()?;
    DelegateAddedEvent { vault: *vault.key(), owner, delegate }.emit();
    Ok(())
}

#[inline(never)]
pub fn remove(context: &Context, arguments: &mut Reader) -> Result {
    let (vault, delegate) = read(context, arguments)?;
    let delegates = vault.delegates()?;
    let index = delegates.position(&delegate)?.ok_or(VaultError::NotFound)?;
    delegates.remove(index)?;
    vault.check_books()?;
    DelegateRemovedEvent { vault: *vault.key(), owner: vault.owner()?, delegate }.emit();
    Ok(())
}

#[inline(always)]
fn read<'a>(context: &Context<'a>, arguments: &mut Reader) -> Result<(Vault<'a>, Pubkey)> {
    let delegate = arguments.key()?;
    arguments.end()?;
    Ok((accounts::signing_owners_vault(context)?, delegate))
}
