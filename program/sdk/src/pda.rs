//! Program-derived addresses.

use crate::syscalls::{self, Slice};
use crate::{AnchorError, Pubkey, Result};

/// The most seeds that any program here uses, including the bump.
const MAX_SEEDS: usize = 4;
/// The last input of the runtime's hash.
const MARKER: &[u8] = b"ProgramDerivedAddress";

#[inline(always)]
fn slices<const N: usize>(seeds: [&[u8]; N]) -> [Slice; N] {
    seeds.map(Slice::of)
}

/// Returns the canonical address and its bump. Fails with `ConstraintSeeds` if there is none.
#[inline(always)]
pub fn find<const N: usize>(seeds: [&[u8]; N], program: &Pubkey) -> Result<(Pubkey, u8)> {
    let seeds = slices(seeds);
    let (mut address, mut bump) = (Pubkey([0; 32]), 0);
    // SAFETY: the seeds and the program are read, the address and the bump written.
    let failed = unsafe {
        syscalls::sol_try_find_program_address(
            seeds.as_ptr(),
            N as u64,
            program,
            &raw mut address,
            &raw mut bump,
        )
    };
    if failed == 0 { Ok((address, bump)) } else { Err(AnchorError::ConstraintSeeds) }
}

/// Checks that `address` is derived from `seeds`, the last of which is the bump. Only for an
/// account that a program created there, with a bump that was found then.
///
/// The hash alone costs a tenth of `sol_create_program_address`, which also checks that the address
/// is not on the curve. Finding the bump has checked that, and the runtime checks seeds that sign.
#[inline(always)]
pub fn verify<const N: usize>(address: &Pubkey, seeds: [&[u8]; N], program: &Pubkey) -> Result {
    let mut parts = [Slice::EMPTY; MAX_SEEDS + 2];
    for (part, seed) in parts.iter_mut().zip(seeds) {
        *part = Slice::of(seed);
    }
    parts[N] = Slice::of(program.as_bytes());
    parts[N + 1] = Slice::of(MARKER);
    let mut derived = Pubkey([0; 32]);
    // SAFETY: N + 2 parts are read, the hash is written.
    unsafe { syscalls::sol_sha256(parts.as_ptr(), N as u64 + 2, &raw mut derived) };
    if derived == *address { Ok(()) } else { Err(AnchorError::ConstraintSeeds) }
}
