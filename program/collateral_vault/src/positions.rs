//! No withdrawal while an authorized program holds a position on the vault.

use sdk::discriminator::discriminator;
use sdk::{Account, Pubkey, Result, pda, system};

use crate::errors::VaultError;
use crate::state::{Vault, VaultAuthority};

const SEED: &[u8] = b"position_summary";
const DISCRIMINATOR: [u8; 8] = discriminator("account", "PositionSummaryAccount");
const LENGTH: usize = 8 + 32 + 32 + 8 + 8 + 8;
const VAULT: usize = 8;
const OWNER: usize = 40;
const OPEN_POSITIONS: usize = 72;

/// Splits the remaining accounts: one summary for each authorized program, then the others.
#[inline(always)]
pub fn split<'a>(
    authority: &VaultAuthority,
    remaining: &'a [Account<'a>],
) -> Result<(&'a [Account<'a>], &'a [Account<'a>])> {
    let count = authority.authorized_programs().len()?;
    remaining.split_at_checked(count).ok_or(VaultError::PositionSummaryMissing)
}

/// Checks the `summaries`, which are in the order of the authorized programs.
#[inline(always)]
pub fn require_none_open(
    vault: &Vault,
    authority: &VaultAuthority,
    summaries: &[Account],
) -> Result {
    let programs = authority.authorized_programs();
    for (index, summary) in summaries.iter().enumerate() {
        require_closed(vault, &programs.key(index)?, *summary)?;
    }
    Ok(())
}

#[inline(always)]
fn require_closed(vault: &Vault, program: &Pubkey, summary: Account) -> Result {
    let data = summary.data();
    if summary.owned_by(program) {
        let valid = data.len() >= LENGTH
            && data.get(0)? == DISCRIMINATOR
            && data.key(VAULT)? == *vault.key()
            && data.key(OWNER)? == vault.owner()?;
        if !valid {
            return Err(VaultError::PositionSummaryInvalid);
        }
        return match data.u64(OPEN_POSITIONS)? {
            0 => Ok(()),
            _ => Err(VaultError::OpenPositionsExist),
        };
    }
    // Never created: then it must be the address at which the program would create it.
    if summary.owned_by(&system::ID) && data.is_empty() {
        let (address, _) = pda::find([SEED, vault.key().as_bytes()], program)?;
        if address == *summary.key() {
            return Ok(());
        }
    }
    Err(VaultError::PositionSummaryInvalid)
}
