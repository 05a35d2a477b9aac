//! The key that may replace this program's code, as the upgradeable loader records it.

use sdk::loader::UPGRADEABLE;
use sdk::{Account, AnchorError, Context, Pubkey, Result, pda};

use crate::errors::VaultError;

/// The program-data account: a tag of four bytes, the slot of the deployment, the authority as an
/// option of fixed size, and then the code.
const PROGRAM_DATA: u32 = 3;
const HAS_AUTHORITY: usize = 12;
const AUTHORITY: usize = 13;

/// Requires that `signer`, whose signature the caller has checked, is the upgrade authority. The
/// first of the `remaining` accounts is the program-data account.
#[inline(never)]
pub fn require(context: &Context, signer: Account, remaining: &[Account]) -> Result {
    let program_data = remaining.first().ok_or(AnchorError::AccountNotEnoughKeys)?;
    let data = program_data.data();
    // An authority that was removed leaves its bytes behind: only the option counts.
    let named = program_data.owned_by(&UPGRADEABLE)
        && data.u32(0)? == PROGRAM_DATA
        && data.u8(HAS_AUTHORITY)? == 1
        && data.key(AUTHORITY)? == *signer.key()
        && is_of_this_program(context, program_data.key());
    if named { Ok(()) } else { Err(VaultError::NotUpgradeAuthority) }
}

/// True if the loader's PDA for this program is `address`. Trying the bumps costs less than the
/// syscall that finds the right one: only the loader creates accounts of its own, and only there.
#[inline(always)]
fn is_of_this_program(context: &Context, address: &Pubkey) -> bool {
    let program = context.program_id.as_bytes();
    (0..=u8::MAX).rev().any(|bump| pda::verify(address, [program, &[bump]], &UPGRADEABLE).is_ok())
}
