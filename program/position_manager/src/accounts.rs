//! Account checks: is each account the one that the instruction expects? No account is trusted for
//! its position in the list.

pub use sdk::accounts::{instructions_sysvar, owned, program, signer, take, writable};
use sdk::{Account, AnchorError, Context, Pubkey, Result, pda, system};

use crate::errors::PositionError;
use crate::summary::PositionSummary;
use crate::vault::{self, Vault, VaultAuthority};

const POSITION_SUMMARY: &[u8] = b"position_summary";

/// The caller that is named to the vault program must be this program.
#[inline(always)]
pub fn caller(context: &Context, account: Account) -> Result {
    if account.key() == context.program_id {
        Ok(())
    } else {
        Err(PositionError::UnauthorizedProgram)
    }
}

/// A vault of any owner. Its program is the one that owns the account: a vault program can write
/// only to its own addresses.
#[inline(always)]
pub fn any_vault(account: Account) -> Result<Vault> {
    let program = owner_of(account)?;
    let vault = Vault::read(account)?;
    let (owner, bump) = (vault.owner()?, [vault.bump()?]);
    pda::verify(account.key(), [vault::VAULT, owner.as_bytes(), &bump], &program)?;
    Ok(vault)
}

/// The only authority account of the vault program that owns it.
#[inline(always)]
pub fn vault_authority(account: Account) -> Result<VaultAuthority> {
    let program = owner_of(account)?;
    let authority = VaultAuthority::read(account)?;
    let bump = [authority.bump()?];
    pda::verify(account.key(), [vault::VAULT_AUTHORITY, &bump], &program)?;
    Ok(authority)
}

/// The program that owns the account, which must have been created.
#[inline(always)]
fn owner_of(account: Account) -> Result<Pubkey> {
    if account.owned_by(&system::ID) && account.data().is_empty() {
        return Err(AnchorError::AccountNotInitialized);
    }
    Ok(account.owner())
}

/// Seeds of a vault's summary, without the bump.
#[inline(always)]
pub fn summary_seeds<'a>(vault: &Vault<'a>) -> [&'a [u8]; 2] {
    [POSITION_SUMMARY, vault.key().as_bytes()]
}

/// The summary of `vault`: owned by this program, of the right type, at the vault's address, and
/// for this vault and its owner.
#[inline(always)]
pub fn summary<'a>(
    context: &Context,
    account: Account<'a>,
    vault: &Vault,
) -> Result<PositionSummary<'a>> {
    owned(account, context.program_id)?;
    let summary = PositionSummary::read(account)?;
    let (address, _) = pda::find(summary_seeds(vault), context.program_id)?;
    let of_vault = summary.vault()? == *vault.key() && summary.owner()? == vault.owner()?;
    if address == *account.key() && of_vault {
        Ok(summary)
    } else {
        Err(AnchorError::ConstraintSeeds)
    }
}
