//! Account checks that every program needs.

use crate::{Account, AnchorError, Context, Pubkey, Result, system, sysvar};

/// The first N accounts by name, and the remaining ones.
#[inline(always)]
pub fn take<'a, const N: usize>(
    context: &Context<'a>,
) -> Result<(&'a [Account<'a>; N], &'a [Account<'a>])> {
    context.accounts.split_first_chunk().ok_or(AnchorError::AccountNotEnoughKeys)
}

#[inline(always)]
pub fn signer(account: Account) -> Result {
    if account.is_signer() { Ok(()) } else { Err(AnchorError::AccountNotSigner) }
}

#[inline(always)]
pub fn writable<const N: usize>(accounts: [Account; N]) -> Result {
    for account in accounts {
        if !account.is_writable() {
            return Err(AnchorError::ConstraintMut);
        }
    }
    Ok(())
}

#[inline(always)]
pub fn program(account: Account, id: &Pubkey) -> Result {
    if account.key() == id { Ok(()) } else { Err(AnchorError::InvalidProgramId) }
}

#[inline(always)]
pub fn instructions_sysvar(account: Account) -> Result {
    if *account.key() == sysvar::INSTRUCTIONS_ID {
        Ok(())
    } else {
        Err(AnchorError::AccountSysvarMismatch)
    }
}

/// Checks that `program` owns the account. An account that was never created is a different error.
#[inline(always)]
pub fn owned(account: Account, program: &Pubkey) -> Result {
    if account.owned_by(program) {
        return Ok(());
    }
    if account.owned_by(&system::ID) && account.data().is_empty() {
        return Err(AnchorError::AccountNotInitialized);
    }
    Err(AnchorError::AccountOwnedByWrongProgram)
}
