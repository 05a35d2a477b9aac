//! The clock and the rent, read by syscall so that no account can be substituted, and the
//! instructions sysvar, which is available only as an account.

use crate::syscalls;
use crate::{Account, AnchorError, ProgramError, Pubkey, Result, accounts};

/// The owner of all sysvars.
pub const ID: Pubkey = Pubkey::from_base58("Sysvar1111111111111111111111111111111111111");
pub const RENT_ID: Pubkey = Pubkey::from_base58("SysvarRent111111111111111111111111111111111");
pub const INSTRUCTIONS_ID: Pubkey =
    Pubkey::from_base58("Sysvar1nstructions1111111111111111111111111");

#[repr(C)]
#[derive(Default)]
pub struct Clock {
    pub slot: u64,
    pub epoch_start_timestamp: i64,
    pub epoch: u64,
    pub leader_schedule_epoch: u64,
    /// Seconds since 1970, as voted by the cluster.
    pub unix_timestamp: i64,
}

impl Clock {
    #[inline(always)]
    pub fn get() -> Result<Clock> {
        let mut clock = Clock::default();
        // SAFETY: the layout is that of the syscall.
        match unsafe { syscalls::sol_get_clock_sysvar(&raw mut clock) } {
            0 => Ok(clock),
            _ => Err(ProgramError::UnsupportedSysvar),
        }
    }
}

#[repr(C)]
#[derive(Default)]
pub struct Rent {
    lamports_per_byte_year: u64,
    /// An IEEE double: 2.0, or 1.0 once SIMD-0194 is active.
    exemption_threshold: u64,
    burn_percent: u8,
}

/// The bytes that an account costs beyond its data.
const ACCOUNT_OVERHEAD: u64 = 128;

/// The lamports that make an account of `length` bytes rent-exempt.
///
/// The target has no floating point: a threshold that is not a small power of two is refused.
#[inline(always)]
pub fn rent_exemption(length: u64) -> Result<u64> {
    let mut rent = Rent::default();
    // SAFETY: the layout is that of the syscall.
    let failed = unsafe { syscalls::sol_get_rent_sysvar(&raw mut rent) } != 0;
    let exponent = (rent.exemption_threshold >> 52).wrapping_sub(1023);
    let fraction = rent.exemption_threshold << 12;
    if failed || fraction != 0 || exponent > 8 || rent.lamports_per_byte_year > 1 << 32 {
        return Err(ProgramError::UnsupportedSysvar);
    }
    // Neither factor is large; the target has no multiplication that checks for overflow.
    let bytes = ACCOUNT_OVERHEAD + length;
    Ok(rent.lamports_per_byte_year.wrapping_mul(bytes) << exponent)
}

/// The depth of the running instruction: 1 at the top level, 2 for one that it calls, and so on.
#[inline(always)]
pub fn stack_height() -> u64 {
    // SAFETY: the syscall takes nothing and touches no memory.
    unsafe { syscalls::sol_get_stack_height() }
}

/// The transaction's instructions, and the index of the running one.
pub struct Instructions<'a>(Account<'a>);

impl<'a> Instructions<'a> {
    const ACCOUNT_META: usize = 1 + 32;

    #[inline(always)]
    pub fn read(account: Account<'a>) -> Result<Self> {
        accounts::instructions_sysvar(account)?;
        Ok(Instructions(account))
    }

    /// The program of the running top-level instruction, whatever it has called.
    #[inline(always)]
    pub fn running_program(&self) -> Result<Pubkey> {
        // The count, an offset for each instruction, the instructions, and finally the current
        // index.
        let data = self.0.data();
        let last = data.len().checked_sub(2).ok_or(AnchorError::AccountDidNotDeserialize)?;
        let index = usize::from(data.u16(last)?);
        let at = usize::from(data.u16(2 + 2 * index)?);
        let accounts = usize::from(data.u16(at)?);
        data.key(at + 2 + Self::ACCOUNT_META * accounts)
    }
}
