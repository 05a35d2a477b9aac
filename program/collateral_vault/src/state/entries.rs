//! The entries of a vault's lists that mature: timelocks and pending withdrawals.

use sdk::Result;

use super::balances::{Balances, add};
use super::list::List;
use super::vault::Vault;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Timelock {
    pub amount: u64,
    pub unlock_time: i64,
}

impl Timelock {
    pub const LENGTH: usize = 16;

    #[inline(always)]
    fn bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.amount.to_le_bytes());
        bytes[8..].copy_from_slice(&self.unlock_time.to_le_bytes());
        bytes
    }

    #[inline(always)]
    pub fn read(list: List, index: usize) -> Result<Self> {
        let at = list.entry(index)?;
        Ok(Timelock { amount: list.data.u64(at)?, unlock_time: list.data.i64(at + 8)? })
    }

    #[inline(always)]
    pub fn write(self, list: List, index: usize) -> Result {
        list.data.put(list.entry(index)?, self.bytes())
    }
}

#[derive(Clone, Copy)]
pub struct PendingWithdrawal {
    pub amount: u64,
    pub requested_at: i64,
    pub executable_at: i64,
}

impl PendingWithdrawal {
    pub const LENGTH: usize = 24;

    #[inline(always)]
    pub fn bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.amount.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.requested_at.to_le_bytes());
        bytes[16..].copy_from_slice(&self.executable_at.to_le_bytes());
        bytes
    }

    #[inline(always)]
    pub fn read(list: List, index: usize) -> Result<Self> {
        let at = list.entry(index)?;
        Ok(PendingWithdrawal {
            amount: list.data.u64(at)?,
            requested_at: list.data.i64(at + 8)?,
            executable_at: list.data.i64(at + 16)?,
        })
    }

    #[inline(always)]
    pub fn write(self, list: List, index: usize) -> Result {
        list.data.put(list.entry(index)?, self.bytes())
    }
}

impl Vault<'_> {
    /// Appends a timelock, and marks it if a delegate scheduled it.
    #[inline(always)]
    pub fn push_timelock(self, timelock: Timelock, by_delegate: bool) -> Result {
        let timelocks = self.timelocks()?;
        let index = timelocks.len()?;
        timelocks.push(timelock.bytes())?;
        if by_delegate {
            self.set_delegate_timelocks(self.delegate_timelocks()? | 1 << index)?;
        }
        Ok(())
    }

    /// The first timelock that equals this one, among the delegates' or among the owner's.
    #[inline(always)]
    pub fn find_timelock(self, wanted: Timelock, of_delegate: bool) -> Result<Option<usize>> {
        let (timelocks, marks) = (self.timelocks()?, self.delegate_timelocks()?);
        for index in 0..timelocks.len()? {
            let marked = marks >> index & 1 == 1;
            if marked == of_delegate && Timelock::read(timelocks, index)? == wanted {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Removes a timelock and its mark.
    #[inline(always)]
    pub fn remove_timelock(self, index: usize) -> Result {
        let marks = self.delegate_timelocks()?;
        let before = (1 << index) - 1;
        self.set_delegate_timelocks(marks & before | marks >> 1 & !before)?;
        self.timelocks()?.remove(index)
    }

    /// Moves matured timelocks back to available. Returns their sum and number.
    #[inline(always)]
    pub fn release_timelocks(self, balances: &mut Balances, now: i64) -> Result<(u64, usize)> {
        let timelocks = self.timelocks()?;
        let (length, marks) = (timelocks.len()?, self.delegate_timelocks()?);
        let (mut released, mut kept, mut kept_marks) = (0u64, 0, 0u64);
        for index in 0..length {
            let timelock = Timelock::read(timelocks, index)?;
            if timelock.unlock_time <= now {
                released = add(released, timelock.amount)?;
            } else {
                if kept < index {
                    timelock.write(timelocks, kept)?;
                }
                kept_marks |= (marks >> index & 1) << kept;
                kept += 1;
            }
        }
        if kept < length {
            self.set_delegate_timelocks(kept_marks)?;
            timelocks.remove_range(kept, length)?;
            balances.available = add(balances.available, released)?;
        }
        Ok((released, length - kept))
    }
}
