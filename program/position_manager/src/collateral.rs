//! Calls to the vault program. A refused call ends the transaction, including the change of the
//! summary.

use sdk::cpi::{self, Call, Use};
use sdk::discriminator::discriminator;

use crate::vault;

const LOCK: [u8; 8] = discriminator("global", "lock_collateral");
const UNLOCK: [u8; 8] = discriminator("global", "unlock_collateral");
const TRANSFER: [u8; 8] = discriminator("global", "transfer_collateral");

/// Moves `amount` from available to locked.
#[inline(always)]
pub fn lock(accounts: &[Use; 4], amount: u64) {
    call(LOCK, accounts, amount);
}

/// Moves `amount` from locked to available.
#[inline(always)]
pub fn unlock(accounts: &[Use; 4], amount: u64) {
    call(UNLOCK, accounts, amount);
}

/// Moves `amount`, balances and tokens, from one vault to another.
#[inline(always)]
pub fn transfer(accounts: &[Use; 8], amount: u64) {
    call(TRANSFER, accounts, amount);
}

#[inline(always)]
fn call(name: [u8; 8], accounts: &[Use], amount: u64) {
    let mut data = [0; 16];
    data[..8].copy_from_slice(&name);
    data[8..].copy_from_slice(&amount.to_le_bytes());
    cpi::invoke(&Call { program: &vault::PROGRAM_ID, accounts, data: &data, signer: &[] });
}
