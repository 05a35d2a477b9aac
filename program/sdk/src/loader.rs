//! The loaders, which own the accounts of programs.

use crate::{Account, Pubkey};

pub const UPGRADEABLE: Pubkey = Pubkey::from_base58("BPFLoaderUpgradeab1e11111111111111111111111");

const LOADERS: [Pubkey; 5] = [
    UPGRADEABLE,
    Pubkey::from_base58("BPFLoader2111111111111111111111111111111111"),
    Pubkey::from_base58("BPFLoader1111111111111111111111111111111111"),
    Pubkey::from_base58("LoaderV411111111111111111111111111111111111"),
    Pubkey::from_base58("NativeLoader1111111111111111111111111111111"),
];

/// True for a program, and for an account that a loader keeps beside it.
///
/// The runtime may call a program whose account is not marked executable (SIMD-0162).
#[inline(always)]
pub fn is_program(account: Account) -> bool {
    account.is_executable() || LOADERS.iter().any(|loader| account.owned_by(loader))
}
