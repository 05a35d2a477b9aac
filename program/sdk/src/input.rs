//! The virtual machine's input: accounts, instruction data and program id, read in place.

use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::{MaybeUninit, size_of};
use core::ptr::NonNull;
use core::slice;

use crate::{Bytes, ProgramError, Pubkey, Reader, Result, system};

/// More accounts than a transaction can lock.
const MAX_ACCOUNTS: usize = 128;
const NOT_A_DUPLICATE: u8 = 0xff;
/// Spare room after each account's data, for growth in calls.
const SPARE: usize = 10_240;

pub type Slots<'a> = [MaybeUninit<Account<'a>>; MAX_ACCOUNTS];
pub const SLOTS: Slots = [const { MaybeUninit::uninit() }; MAX_ACCOUNTS];

/// An account's fixed part, as serialized; its data follow.
#[repr(C)]
struct Header {
    duplicate_of: u8,
    is_signer: u8,
    is_writable: u8,
    executable: u8,
    original_length: u32,
    key: Pubkey,
    owner: Cell<Pubkey>,
    lamports: Cell<u64>,
    data_length: Cell<u64>,
}

const _: () = assert!(size_of::<Header>() == 88);
const _: () = assert!(size_of::<usize>() == size_of::<u64>());

/// An account passed to the instruction. An account that is passed twice is the same `Account`.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    header: NonNull<Header>,
    _input: PhantomData<&'a Cell<u8>>,
}

impl<'a> Account<'a> {
    #[inline(always)]
    fn header(self) -> &'a Header {
        // SAFETY: `Context::parse` made the pointer, and the input outlives 'a.
        unsafe { self.header.as_ref() }
    }

    #[inline(always)]
    pub fn key(self) -> &'a Pubkey {
        &self.header().key
    }

    /// True for the same account, also if it is passed twice.
    #[inline(always)]
    pub fn is(self, other: Account) -> bool {
        self.header == other.header
    }

    #[inline(always)]
    pub fn is_signer(self) -> bool {
        self.header().is_signer != 0
    }

    #[inline(always)]
    pub fn is_writable(self) -> bool {
        self.header().is_writable != 0
    }

    #[inline(always)]
    pub fn is_executable(self) -> bool {
        self.header().executable != 0
    }

    #[inline(always)]
    pub fn lamports(self) -> u64 {
        self.header().lamports.get()
    }

    #[inline(always)]
    pub fn owned_by(self, program: &Pubkey) -> bool {
        self.header().owner.get() == *program
    }

    #[inline(always)]
    pub fn owner(self) -> Pubkey {
        self.header().owner.get()
    }

    /// The data at their current length, which a call may have changed.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "`usize` has 64 bits")]
    pub fn data(self) -> Bytes<'a> {
        // SAFETY: the data follow the header, with the length that the virtual machine keeps there;
        // cells permit other programs to write them.
        Bytes::new(unsafe {
            let data = self.header.as_ptr().cast::<u8>().add(size_of::<Header>());
            slice::from_raw_parts(data.cast(), self.header().data_length.get() as usize)
        })
    }

    /// Closes an account of this program: its lamports go to `heir`, its data are cleared, and the
    /// system program owns it, so that lamports sent back in the same transaction do not revive it.
    #[inline(always)]
    pub fn close(self, heir: Account) -> Result {
        let (ours, theirs) = (self.header(), heir.header());
        let sum = theirs.lamports.get().checked_add(ours.lamports.get());
        theirs.lamports.set(sum.ok_or(ProgramError::ArithmeticOverflow)?);
        ours.lamports.set(0);
        self.data().clear(0, self.data().len())?;
        ours.data_length.set(0);
        ours.owner.set(system::ID);
        Ok(())
    }

    /// The account in the form that a call takes.
    #[inline(always)]
    pub(crate) fn info(self) -> crate::cpi::Info {
        let header = self.header();
        crate::cpi::Info {
            key: &raw const header.key,
            lamports: header.lamports.as_ptr(),
            data_length: header.data_length.get(),
            // SAFETY: one past the header is where the data begin.
            data: unsafe { self.header.as_ptr().cast::<u8>().add(size_of::<Header>()) },
            owner: header.owner.as_ptr(),
            rent_epoch: u64::MAX,
            is_signer: self.is_signer(),
            is_writable: self.is_writable(),
            executable: header.executable != 0,
        }
    }
}

/// One instruction: the program's own id, the accounts in order, and the data.
pub struct Context<'a> {
    pub program_id: &'a Pubkey,
    pub accounts: &'a [Account<'a>],
    pub data: Reader<'a>,
}

impl<'a> Context<'a> {
    /// Reads the input. Fails with `InvalidArgument` for more than 128 accounts.
    ///
    /// # Safety
    /// `input` is what the virtual machine passed to the entry point (layout: ABI version 1).
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "`usize` has 64 bits")]
    #[expect(clippy::cast_ptr_alignment, reason = "the input is aligned to 8")]
    pub unsafe fn parse(input: *const u8, slots: &'a mut Slots<'a>) -> Result<Self> {
        // SAFETY: the virtual machine has laid out the input, aligned to 8, as read here.
        unsafe {
            let count = input.cast::<u64>().read() as usize;
            let mut at = input.add(8);
            if count > MAX_ACCOUNTS {
                return Err(ProgramError::InvalidArgument);
            }
            for index in 0..count {
                let header = NonNull::new_unchecked(at.cast_mut().cast::<Header>());
                let marker = at.read();
                if marker == NOT_A_DUPLICATE {
                    slots[index].write(Account { header, _input: PhantomData });
                    let length = header.as_ref().data_length.get() as usize;
                    at = at.add((size_of::<Header>() + length + SPARE + 7) & !7);
                } else {
                    slots[index] = slots[marker as usize]; // a duplicate, by the ABI
                }
                at = at.add(8); // the rent epoch, or a duplicate's padding
            }
            let length = at.cast::<u64>().read() as usize;
            let data = at.add(8);
            Ok(Context {
                program_id: &*data.add(length).cast(),
                accounts: slice::from_raw_parts(slots.as_ptr().cast(), count),
                data: Reader::new(slice::from_raw_parts(data, length)),
            })
        }
    }
}
