//! What authorized programs say about a vault: whether positions are open, and what they claim.

use sdk::discriminator::discriminator;
use sdk::{Account, Bytes, Pubkey, Result, pda, system};

use crate::errors::VaultError;
use crate::state::{Vault, VaultAuthority};

const SEED: &[u8] = b"position_summary";
const DISCRIMINATOR: [u8; 8] = discriminator("account", "PositionSummaryAccount");
const LENGTH: usize = 8 + 32 + 32 + 8 + 8 + 8;
const VAULT: usize = 8;
const OWNER: usize = 40;
const OPEN_POSITIONS: usize = 72;
const LOCKED_AMOUNT: usize = 80;

/// Splits the remaining accounts: one summary for each authorized program, then the others.
#[inline(always)]
pub fn split<'a>(
    authority: &VaultAuthority,
    remaining: &'a [Account<'a>],
) -> Result<(&'a [Account<'a>], &'a [Account<'a>])> {
    let count = authority.authorized_programs().len()?;
    remaining.split_at_checked(count).ok_or(VaultError::PositionSummaryMissing)
}

/// Requires that no program has a position open. The `summaries` are in the order of the programs.
#[inline(always)]
pub fn require_none_open(
    vault: &Vault,
    authority: &VaultAuthority,
    summaries: &[Account],
) -> Result {
    let programs = authority.authorized_programs();
    for (index, summary) in summaries.iter().enumerate() {
        if let Some(data) = read(vault, &programs.key(index)?, *summary)?
            && data.u64(OPEN_POSITIONS)? != 0
        {
            return Err(VaultError::OpenPositionsExist);
        }
    }
    Ok(())
}

/// What all programs together claim of the vault's locked balance, or the highest number.
#[inline(always)]
pub fn claimed(vault: &Vault, authority: &VaultAuthority, summaries: &[Account]) -> Result<u64> {
    let programs = authority.authorized_programs();
    let mut claimed = 0u64;
    for (index, summary) in summaries.iter().enumerate() {
        if let Some(data) = read(vault, &programs.key(index)?, *summary)? {
            claimed = claimed.saturating_add(data.u64(LOCKED_AMOUNT)?);
        }
    }
    Ok(claimed)
}

/// The data of the program's summary of this vault, or `None` if it was never created.
#[inline(always)]
fn read<'a>(vault: &Vault, program: &Pubkey, summary: Account<'a>) -> Result<Option<Bytes<'a>>> {
    let data = summary.data();
    if summary.owned_by(program) && !data.is_empty() {
        let valid = data.len() >= LENGTH
            && data.get(0)? == DISCRIMINATOR
            && data.key(VAULT)? == *vault.key()
            && data.key(OWNER)? == vault.owner()?;
        return if valid { Ok(Some(data)) } else { Err(VaultError::PositionSummaryInvalid) };
    }
    // Never created: then it must be the address at which the program would create it. This also
    // holds for the system program, which owns it although it can create nothing there.
    if summary.owned_by(&system::ID) && data.is_empty() {
        let (address, _) = pda::find([SEED, vault.key().as_bytes()], program)?;
        if address == *summary.key() {
            return Ok(None);
        }
    }
    Err(VaultError::PositionSummaryInvalid)
}
