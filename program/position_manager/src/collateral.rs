//! Calls to the vault program. A refused call ends the transaction, including the change of the
//! summary.

use sdk::cpi::{self, Call, MAX_ACCOUNTS, Use};
use sdk::discriminator::discriminator;
use sdk::{Account, ProgramError, Pubkey, Result, pda, system};

const LOCK: [u8; 8] = discriminator("global", "lock_collateral");
const UNLOCK: [u8; 8] = discriminator("global", "unlock_collateral");
const TRANSFER: [u8; 8] = discriminator("global", "transfer_collateral");

const CALLER: &[u8] = b"caller";

/// Who calls which vault program, and with what: the accounts that its interface names, and the
/// remaining accounts of this instruction.
pub struct Parties<'a, const N: usize> {
    pub caller: Account<'a>,
    pub vault_program: Account<'a>,
    pub named: [Use<'a>; N],
    pub remaining: &'a [Account<'a>],
}

/// Moves `amount` from available to locked.
#[inline(always)]
pub fn lock(parties: &Parties<4>, amount: u64) -> Result {
    call(LOCK, parties, amount)
}

/// Moves `amount` from locked to available.
#[inline(always)]
pub fn unlock(parties: &Parties<4>, amount: u64) -> Result {
    call(UNLOCK, parties, amount)
}

/// Moves `amount`, balances and tokens, from one vault to another.
#[inline(always)]
pub fn transfer(parties: &Parties<8>, amount: u64) -> Result {
    call(TRANSFER, parties, amount)
}

#[inline(always)]
fn call<const N: usize>(name: [u8; 8], parties: &Parties<N>, amount: u64) -> Result {
    let mut data = [0; 16];
    data[..8].copy_from_slice(&name);
    data[8..].copy_from_slice(&amount.to_le_bytes());
    if !parties.remaining.is_empty() {
        return call_with_remaining(parties, &data);
    }
    let program = parties.vault_program.key();
    cpi::invoke(&Call { program, accounts: &parties.named, data: &data, signer: &[] });
    Ok(())
}

/// Makes the call. The remaining accounts keep their writable flags and lose their signatures; only
/// this program's caller PDA signs, if it is among them.
#[inline(never)]
fn call_with_remaining<const N: usize>(parties: &Parties<N>, data: &[u8; 16]) -> Result {
    let Parties { caller, vault_program, named, remaining } = parties;
    let program = vault_program.key();
    let pda = caller_pda(caller.key(), program, remaining)?;
    let mut accounts = [named[0]; MAX_ACCOUNTS];
    accounts[..N].copy_from_slice(named);
    let count = N + remaining.len();
    let others = accounts.get_mut(N..count).ok_or(ProgramError::InvalidArgument)?;
    for (other, account) in others.iter_mut().zip(*remaining) {
        let signs = pda.is_some_and(|(address, _)| *account.key() == address);
        *other = Use::passed_on(*account, signs);
    }
    let bump = pda.map(|(_, bump)| [bump]);
    let seeds = bump.as_ref().map(|bump| [CALLER, program.as_bytes(), bump]);
    let signer = seeds.as_ref().map_or(&[][..], |seeds| &seeds[..]);
    cpi::invoke(&Call { program, accounts: &accounts[..count], data, signer });
    Ok(())
}

/// This program's PDA that signs calls of `vault_program`, and its bump, if it is among the
/// `remaining` accounts. The runtime lets nobody use the signature for another vault program.
///
/// The PDA has no data. So accounts of other programs are no reason to search for its address.
#[inline(always)]
fn caller_pda(
    caller: &Pubkey,
    vault_program: &Pubkey,
    remaining: &[Account],
) -> Result<Option<(Pubkey, u8)>> {
    if !remaining.iter().any(|account| account.owned_by(&system::ID)) {
        return Ok(None);
    }
    let (address, bump) = pda::find([CALLER, vault_program.as_bytes()], caller)?;
    let given = remaining.iter().any(|account| *account.key() == address);
    Ok(given.then_some((address, bump)))
}
