//! Program-derived addresses.

use crate::syscalls::{self, Slice};
use crate::{AnchorError, Pubkey, Result};

#[inline(always)]
fn slices<const N: usize>(seeds: [&[u8]; N]) -> [Slice; N] {
    seeds.map(Slice::of)
}

/// The canonical address and its bump; `ConstraintSeeds` if there is none.
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
            &mut address,
            &mut bump,
        )
    };
    if failed == 0 { Ok((address, bump)) } else { Err(AnchorError::ConstraintSeeds) }
}

/// Checks that `address` is derived from `seeds`, of which the last is the bump.
#[inline(always)]
pub fn verify<const N: usize>(address: &Pubkey, seeds: [&[u8]; N], program: &Pubkey) -> Result {
    let seeds = slices(seeds);
    let mut derived = Pubkey([0; 32]);
    // SAFETY: the seeds and the program are read, the address written.
    let failed = unsafe {
        syscalls::sol_create_program_address(seeds.as_ptr(), N as u64, program, &mut derived)
    };
    if failed == 0 && derived == *address { Ok(()) } else { Err(AnchorError::ConstraintSeeds) }
}
