//! The account of transfer limits, and the windows in which transfers are counted.

use sdk::discriminator::discriminator;
use sdk::{Account, AnchorError, Bytes, Result};

use crate::errors::VaultError;

const DISCRIMINATOR: [u8; 8] = discriminator("account", "TransferLimits");
const VAULT_DAILY: usize = 8;
const TOTAL_DAILY: usize = 16;
const WINDOW_START: usize = 24;
const TRANSFERRED: usize = 32;
const PENDING_VAULT_DAILY: usize = 40;
const PENDING_TOTAL_DAILY: usize = 48;
const PENDING_AT: usize = 56;
const BUMP: usize = 64;
const RESERVED: usize = 31;

/// The length of a window, in seconds.
const DAY: i64 = 24 * 60 * 60;
/// How long a higher limit waits: time to notice it, and to recover governance.
const RAISE_DELAY: i64 = 72 * 60 * 60;

/// What may be transferred within a window: out of one vault, and out of all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub vault_daily: u64,
    pub total_daily: u64,
}

#[derive(Clone, Copy)]
pub struct TransferLimits<'a>(Bytes<'a>);

impl<'a> TransferLimits<'a> {
    pub const LENGTH: usize = BUMP + 1 + RESERVED;

    #[inline(always)]
    pub fn read(account: Account<'a>) -> Result<Self> {
        let data = account.data();
        if data.len() < 8 || data.get(0)? != DISCRIMINATOR {
            return Err(AnchorError::AccountDiscriminatorMismatch);
        }
        Ok(TransferLimits(data.first(Self::LENGTH)?))
    }

    /// Initializes a zeroed account with limits that are in force at once.
    #[inline(always)]
    pub fn create(account: Account<'a>, bump: u8, limits: Limits) -> Result<Self> {
        let created = TransferLimits(account.data().first(Self::LENGTH)?);
        created.0.put(0, DISCRIMINATOR)?;
        created.0.put(BUMP, [bump])?;
        created.set_current(limits)?;
        Ok(created)
    }

    #[inline(always)]
    pub fn bump(self) -> Result<u8> {
        self.0.u8(BUMP)
    }

    #[inline(always)]
    fn set_current(self, limits: Limits) -> Result {
        self.0.put(VAULT_DAILY, limits.vault_daily.to_le_bytes())?;
        self.0.put(TOTAL_DAILY, limits.total_daily.to_le_bytes())
    }

    /// The limits that wait to be raised, and since when they are in force; zeros if there are none.
    #[inline(always)]
    pub fn pending(self) -> Result<(Limits, i64)> {
        let limits = Limits {
            vault_daily: self.0.u64(PENDING_VAULT_DAILY)?,
            total_daily: self.0.u64(PENDING_TOTAL_DAILY)?,
        };
        Ok((limits, self.0.i64(PENDING_AT)?))
    }

    #[inline(always)]
    fn set_pending(self, limits: Limits, at: i64) -> Result {
        self.0.put(PENDING_VAULT_DAILY, limits.vault_daily.to_le_bytes())?;
        self.0.put(PENDING_TOTAL_DAILY, limits.total_daily.to_le_bytes())?;
        self.0.put(PENDING_AT, at.to_le_bytes())
    }

    /// The limits in force, after the pending ones have replaced them if their time has come.
    #[inline(always)]
    pub fn current(self, now: i64) -> Result<Limits> {
        let (pending, at) = self.pending()?;
        if at != 0 && now >= at {
            self.set_current(pending)?;
            self.set_pending(Limits { vault_daily: 0, total_daily: 0 }, 0)?;
        }
        Ok(Limits { vault_daily: self.0.u64(VAULT_DAILY)?, total_daily: self.0.u64(TOTAL_DAILY)? })
    }

    /// Lowers what is lower at once. What is higher waits, and replaces what waited before.
    #[inline(always)]
    pub fn set(self, wanted: Limits, now: i64) -> Result<Limits> {
        let current = self.current(now)?;
        let lowered = Limits {
            vault_daily: current.vault_daily.min(wanted.vault_daily),
            total_daily: current.total_daily.min(wanted.total_daily),
        };
        self.set_current(lowered)?;
        if lowered == wanted {
            self.set_pending(Limits { vault_daily: 0, total_daily: 0 }, 0)?;
        } else {
            let at = now.checked_add(RAISE_DELAY).ok_or(VaultError::Overflow)?;
            self.set_pending(wanted, at)?;
        }
        Ok(lowered)
    }

    /// Counts `amount` in the window of all vaults.
    #[inline(always)]
    pub fn count(self, amount: u64, limit: u64, now: i64) -> Result {
        let window = (self.0.i64(WINDOW_START)?, self.0.u64(TRANSFERRED)?);
        let (start, transferred) = count_in_window(window, amount, limit, now)?;
        self.0.put(WINDOW_START, start.to_le_bytes())?;
        self.0.put(TRANSFERRED, transferred.to_le_bytes())
    }
}

/// Adds `amount` to a window of a day, given by its start and its sum, or to a new one that starts
/// now once that has ended. Fails with `TransferLimitExceeded` above `limit`.
#[inline(always)]
pub fn count_in_window(
    (start, sum): (i64, u64),
    amount: u64,
    limit: u64,
    now: i64,
) -> Result<(i64, u64)> {
    let ended = now.saturating_sub(start) >= DAY;
    let (start, sum) = if ended { (now, 0) } else { (start, sum) };
    match sum.checked_add(amount) {
        Some(sum) if sum <= limit => Ok((start, sum)),
        _ => Err(VaultError::TransferLimitExceeded),
    }
}
