//! The virtual machine's syscalls. A call identifies its syscall by the murmur3 hash of the name.

use crate::Pubkey;

#[expect(clippy::cast_possible_truncation, reason = "the length of a name")]
const fn murmur3(name: &str) -> usize {
    let bytes = name.as_bytes();
    let mut hash = 0u32;
    let mut at = 0;
    while at < bytes.len() {
        let mut word = 0u32;
        let mut index = 0;
        while index < 4 && at + index < bytes.len() {
            word |= (bytes[at + index] as u32) << (8 * index);
            index += 1;
        }
        word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15);
        hash ^= word.wrapping_mul(0x1b87_3593);
        if index == 4 {
            hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
        }
        at += 4;
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    (hash ^ (hash >> 16)) as usize
}

const _: () = assert!(murmur3("sol_log_") == 0x2075_59bd);

macro_rules! syscalls {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $reply:ty)?;)*) => {
        $(#[inline(always)]
        pub(crate) unsafe fn $name($($argument: $type),*) $(-> $reply)? {
            type Syscall = unsafe extern "C" fn($($type),*) $(-> $reply)?;
            let syscall: Syscall =
                // SAFETY: the virtual machine resolves this constant; it is never an address.
                unsafe { core::mem::transmute(const { murmur3(stringify!($name)) }) };
            // SAFETY: the caller passes what this syscall takes.
            unsafe { syscall($($argument),*) }
        })*
    };
}

/// A byte string in the layout that the virtual machine reads.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Slice {
    pub address: *const u8,
    pub length: u64,
}

impl Slice {
    pub(crate) const EMPTY: Slice = Slice { address: core::ptr::null(), length: 0 };

    #[inline(always)]
    pub(crate) fn of(bytes: &[u8]) -> Slice {
        Slice { address: bytes.as_ptr(), length: bytes.len() as u64 }
    }
}

syscalls! {
    fn sol_log_(message: *const u8, length: u64);
    fn sol_log_data(fields: *const Slice, count: u64);
    fn sol_memmove_(to: *mut u8, from: *const u8, length: u64);
    fn sol_memset_(to: *mut u8, byte: u8, length: u64);
    fn sol_get_clock_sysvar(clock: *mut crate::sysvar::Clock) -> u64;
    fn sol_get_stack_height() -> u64;
    fn sol_get_rent_sysvar(rent: *mut crate::sysvar::Rent) -> u64;
    fn sol_sha256(parts: *const Slice, count: u64, hash: *mut Pubkey) -> u64;
    fn sol_try_find_program_address(
        seeds: *const Slice, count: u64, program: *const Pubkey, address: *mut Pubkey,
        bump: *mut u8
    ) -> u64;
    fn sol_invoke_signed_c(
        instruction: *const crate::cpi::Instruction, accounts: *const crate::cpi::Info,
        count: u64, signers: *const Slice, signer_count: u64
    ) -> u64;
}

/// Ends the program, and with it the transaction.
pub fn abort() -> ! {
    // SAFETY: the syscall takes nothing and does not return.
    let syscall: extern "C" fn() -> ! = unsafe { core::mem::transmute(const { murmur3("abort") }) };
    syscall()
}
