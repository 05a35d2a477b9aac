use sdk::sysvar::Instructions;
use sdk::{Context, Reader, Result};

use crate::errors::VaultError;
use crate::events::{LockEvent, UnlockEvent, record, transaction_type};
use crate::state::{Balances, Vault};
use crate::{accounts, caller};

/// Locks collateral in the vault for a position of the calling program.
#[inline(never)]
pub fn lock(context: &Context, arguments: &mut Reader) -> Result {
    let (vault, amount) = read(context, arguments)?;
    let mut balances = vault.balances()?;
    balances.lock(amount)?;
    write(&vault, balances)?;
    LockEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        amount,
        new_locked_balance: balances.locked,
        new_available_balance: balances.available,
    }
    .emit();
    record(&vault, transaction_type::LOCK, amount)
}

/// Makes locked collateral available again.
#[inline(never)]
pub fn unlock(context: &Context, arguments: &mut Reader) -> Result {
    let (vault, amount) = read(context, arguments)?;
    let mut balances = vault.balances()?;
    balances.unlock(amount)?;
    write(&vault, balances)?;
    UnlockEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        amount,
        new_locked_balance: balances.locked,
        new_available_balance: balances.available,
    }
    .emit();
    record(&vault, transaction_type::UNLOCK, amount)
}

#[inline(always)]
fn read<'a>(context: &Context<'a>, arguments: &mut Reader) -> Result<(Vault<'a>, u64)> {
    let amount = arguments.u64()?;
    arguments.end()?;
    let (&[caller_program, vault_authority, instructions, vault], remaining) =
        accounts::take(context)?;
    accounts::writable([vault])?;
    let authority = accounts::vault_authority(context, vault_authority)?;
    let instructions = Instructions::read(instructions)?;
    let vault = accounts::any_vault(context, vault)?;
    if amount == 0 {
        return Err(VaultError::InvalidAmount);
    }
    caller::require_authorized(context, &authority, caller_program, &instructions, remaining)?;
    if authority.freeze()? {
        return Err(VaultError::Frozen);
    }
    Ok((vault, amount))
}

#[inline(always)]
fn write(vault: &Vault, balances: Balances) -> Result {
    vault.set_balances(balances)?;
    vault.check_books()
}
