//! Calls to other programs. A failed call ends the transaction and never returns.

use core::mem::MaybeUninit;

use crate::syscalls::{self, Slice};
use crate::{Account, Pubkey};

pub const MAX_ACCOUNTS: usize = 32;
const MAX_SEEDS: usize = 4;

#[repr(C)]
pub(crate) struct Instruction {
    program: *const Pubkey,
    accounts: *const Meta,
    account_count: u64,
    data: *const u8,
    data_length: u64,
}

#[repr(C)]
struct Meta {
    key: *const Pubkey,
    is_writable: bool,
    is_signer: bool,
}

#[repr(C)]
pub(crate) struct Info {
    pub key: *const Pubkey,
    pub lamports: *mut u64,
    pub data_length: u64,
    pub data: *mut u8,
    pub owner: *const Pubkey,
    pub rent_epoch: u64,
    pub is_signer: bool,
    pub is_writable: bool,
    pub executable: bool,
}

/// An account of a call, with its signer and writable flags.
#[derive(Clone, Copy)]
pub struct Use<'a> {
    account: Account<'a>,
    is_writable: bool,
    is_signer: bool,
}

impl<'a> Use<'a> {
    pub fn readonly(account: Account<'a>) -> Self {
        Use { account, is_writable: false, is_signer: false }
    }

    pub fn writable(account: Account<'a>) -> Self {
        Use { account, is_writable: true, is_signer: false }
    }

    pub fn signer(account: Account<'a>) -> Self {
        Use { account, is_writable: false, is_signer: true }
    }

    pub fn writable_signer(account: Account<'a>) -> Self {
        Use { account, is_writable: true, is_signer: true }
    }

    /// Writable if the account is writable in this instruction.
    pub fn passed_on(account: Account<'a>, is_signer: bool) -> Self {
        Use { account, is_writable: account.is_writable(), is_signer }
    }
}

/// A call: the program, its accounts (`MAX_ACCOUNTS` at most) and its instruction data.
pub struct Call<'a> {
    pub program: &'a Pubkey,
    pub accounts: &'a [Use<'a>],
    pub data: &'a [u8],
    /// Seeds, with the bump, of this program's PDA that signs (at most 4), or none.
    pub signer: &'a [&'a [u8]],
}

/// Makes the call. Panics with more accounts or seeds than `Call` allows.
#[inline(never)]
pub fn invoke(call: &Call) {
    let Call { program, accounts, data, signer } = *call;
    let mut metas = [const { MaybeUninit::<Meta>::uninit() }; MAX_ACCOUNTS];
    let mut infos = [const { MaybeUninit::<Info>::uninit() }; MAX_ACCOUNTS];
    for (index, given) in accounts.iter().enumerate() {
        metas[index].write(Meta {
            key: given.account.key(),
            is_writable: given.is_writable,
            is_signer: given.is_signer,
        });
        infos[index].write(given.account.info());
    }
    let mut seeds = [Slice::EMPTY; MAX_SEEDS];
    for (index, seed) in signer.iter().enumerate() {
        seeds[index] = Slice::of(seed);
    }
    let signers = Slice { address: seeds.as_ptr().cast(), length: signer.len() as u64 };
    let instruction = Instruction {
        program,
        accounts: metas.as_ptr().cast(),
        account_count: accounts.len() as u64,
        data: data.as_ptr(),
        data_length: data.len() as u64,
    };
    // SAFETY: the counts equal the metas, infos and seeds written; what the called program changes
    // is in cells.
    unsafe {
        syscalls::sol_invoke_signed_c(
            &raw const instruction,
            infos.as_ptr().cast(),
            accounts.len() as u64,
            &raw const signers,
            u64::from(!signer.is_empty()),
        );
    }
}
