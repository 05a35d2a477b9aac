//! Hashes.

use crate::Pubkey;
use crate::syscalls::{self, Slice};

#[inline(always)]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let part = Slice::of(bytes);
    let mut hash = Pubkey([0; 32]);
    // SAFETY: one part is read, the hash is written.
    unsafe { syscalls::sol_sha256(&raw const part, 1, &raw mut hash) };
    hash.0
}
