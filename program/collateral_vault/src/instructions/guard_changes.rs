use sdk::hash::sha256;
use sdk::log::Borsh;
use sdk::sysvar::Clock;
use sdk::{AnchorError, Context, Reader, Result, pda, system};

use crate::accounts::{self, GUARD_CHANGE};
use crate::errors::VaultError;
use crate::events::{
    GuardChangeAppliedEvent, GuardChangeCancelledEvent, GuardChangeRequestedEvent,
};
use crate::guard::{self, EXECUTABLE_FOR, GuardChange};
use crate::state::{GUARD_CHANGE_LENGTH, GuardRequest};

/// Announces a change, which the owner may make after the delay in force, and after seven days if
/// there is a multisig. Without a guard there is nothing to wait for.
#[inline(never)]
pub fn request(context: &Context, arguments: &mut Reader) -> Result {
    let change = arguments.rest();
    GuardChange::read(arguments)?;
    let (&[owner, vault, account, system_program], _) = accounts::take(context)?;
    accounts::signer(owner)?;
    accounts::writable([owner, account])?;
    accounts::program(system_program, &system::ID)?;
    let vault = accounts::vault(context, vault, owner)?;
    let wait = guard::wait(&vault)?;
    if wait == 0 {
        return Err(VaultError::Unauthorized);
    }
    let hash = sha256(change);
    let seeds = [GUARD_CHANGE, vault.key().as_bytes(), &hash];
    let (address, bump) = pda::find(seeds, context.program_id)?;
    if address != *account.key() {
        return Err(AnchorError::ConstraintSeeds);
    }
    if account.owned_by(context.program_id) {
        return Err(VaultError::AlreadyExists);
    }

    let requested_at = Clock::get()?.unix_timestamp;
    let executable_at = requested_at.checked_add(wait).ok_or(VaultError::Overflow)?;
    let (vault, owner_key) = (*vault.key(), *owner.key());
    let request =
        GuardRequest { vault, owner: owner_key, requested_at, executable_at, bump, change };
    let seeds = [GUARD_CHANGE, vault.as_bytes(), &hash, &[bump]];
    system::create_pda(owner, account, request.length(), context.program_id, &seeds)?;
    request.write(account)?;
    let change = Borsh(change);
    GuardChangeRequestedEvent { vault, owner: owner_key, executable_at, change }.emit();
    Ok(())
}

/// Makes a change that was requested long enough ago, by the delay of then and by that of now.
///
/// A request from before the vault was opened again counts for nothing. So does one of the same
/// second, since one transaction may request a change, and close and open the vault.
#[inline(never)]
pub fn apply(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (&[owner, vault, account], _) = accounts::take(context)?;
    accounts::signer(owner)?;
    accounts::writable([owner, vault, account])?;
    let vault = accounts::vault(context, vault, owner)?;
    let mut buffer = [0; GUARD_CHANGE_LENGTH];
    let request =
        accounts::guard_request(context, account, &mut buffer, vault.key(), owner.key())?;
    let now = Clock::get()?.unix_timestamp;
    let last = request.executable_at.saturating_add(EXECUTABLE_FOR);
    let waited = now.saturating_sub(request.requested_at);
    if now < request.executable_at
        || now > last
        || waited < guard::wait(&vault)?
        || request.requested_at <= vault.created_at()?
    {
        return Err(VaultError::NotExecutableNow);
    }
    GuardChange::read(&mut Reader::new(request.change))?.apply(&vault)?;
    account.close(owner)?;
    let change = Borsh(request.change);
    GuardChangeAppliedEvent { vault: request.vault, owner: request.owner, change }.emit();
    Ok(())
}

/// Drops a requested change. The owner may do so, even if the vault was closed in between, and so
/// may any one signer of the multisig. The rent goes to the owner.
#[inline(never)]
pub fn cancel(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (&[authority, owner, vault, account], _) = accounts::take(context)?;
    accounts::signer(authority)?;
    accounts::writable([owner, account])?;
    let mut buffer = [0; GUARD_CHANGE_LENGTH];
    let request =
        accounts::guard_request(context, account, &mut buffer, vault.key(), owner.key())?;
    if authority.key() != owner.key() {
        let vault = accounts::vault(context, vault, owner)?;
        if vault.multisig_threshold()? == 0 || !vault.multisig_signers().contains(authority.key())?
        {
            return Err(VaultError::Unauthorized);
        }
    }
    account.close(owner)?;
    GuardChangeCancelledEvent {
        vault: request.vault,
        owner: request.owner,
        authority: *authority.key(),
        change: Borsh(request.change),
    }
    .emit();
    Ok(())
}
