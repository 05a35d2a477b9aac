//! The system program, which creates accounts.

use crate::cpi::{self, Call, Use};
use crate::sysvar::rent_exemption;
use crate::{Account, Pubkey, Result};

pub const ID: Pubkey = Pubkey([0; 32]);

const CREATE_ACCOUNT: u32 = 0;
const ASSIGN: u32 = 1;
const TRANSFER: u32 = 2;
const ALLOCATE: u32 = 8;

/// Creates `account`, a PDA of these `seeds` (including the bump), as a zeroed account of `owner`.
///
/// The system program refuses to create an account at an address that holds lamports, and anyone
/// may have sent some there. In that case, tops up, allocates and assigns the account instead.
#[inline(always)]
pub fn create_pda(
    payer: Account,
    account: Account,
    length: u64,
    owner: &Pubkey,
    seeds: &[&[u8]],
) -> Result {
    let rent = rent_exemption(length)?;
    let held = account.lamports();
    if held == 0 {
        let mut data = [0; 52];
        data[..4].copy_from_slice(&CREATE_ACCOUNT.to_le_bytes());
        data[4..12].copy_from_slice(&rent.to_le_bytes());
        data[12..20].copy_from_slice(&length.to_le_bytes());
        data[20..].copy_from_slice(&owner.0);
        let accounts = [Use::writable_signer(payer), Use::writable_signer(account)];
        cpi::invoke(&Call { program: &ID, accounts: &accounts, data: &data, signer: seeds });
        return Ok(());
    }
    if held < rent {
        let data = number(TRANSFER, rent - held);
        cpi::invoke(&Call {
            program: &ID,
            accounts: &[Use::writable_signer(payer), Use::writable(account)],
            data: &data,
            signer: &[],
        });
    }
    cpi::invoke(&Call {
        program: &ID,
        accounts: &[Use::writable_signer(account)],
        data: &number(ALLOCATE, length),
        signer: seeds,
    });
    let mut data = [0; 36];
    data[..4].copy_from_slice(&ASSIGN.to_le_bytes());
    data[4..].copy_from_slice(&owner.0);
    cpi::invoke(&Call {
        program: &ID,
        accounts: &[Use::writable_signer(account)],
        data: &data,
        signer: seeds,
    });
    Ok(())
}

fn number(instruction: u32, value: u64) -> [u8; 12] {
    let mut data = [0; 12];
    data[..4].copy_from_slice(&instruction.to_le_bytes());
    data[4..].copy_from_slice(&value.to_le_bytes());
    data
}
