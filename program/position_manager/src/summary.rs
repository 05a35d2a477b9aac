//! The position summary: what is open on a vault. The vault program reads it.
//!
//! Positions are counted, not identified, and some are open exactly while an amount is locked. A
//! close subtracts one, but the last one stays while anything is locked, and none stays when
//! nothing is.

use sdk::discriminator::discriminator;
use sdk::sysvar::Clock;
use sdk::{Account, AnchorError, Bytes, Pubkey, Result};

use crate::errors::PositionError;
use crate::vault::Vault;

const DISCRIMINATOR: [u8; 8] = discriminator("account", "PositionSummaryAccount");
const VAULT: usize = 8;
const OWNER: usize = 40;
const OPEN_POSITIONS: usize = 72;
const LOCKED_AMOUNT: usize = 80;
const LAST_UPDATED_SLOT: usize = 88;

#[derive(Clone, Copy)]
pub struct PositionSummary<'a>(Bytes<'a>);

impl<'a> PositionSummary<'a> {
    pub const LENGTH: usize = LAST_UPDATED_SLOT + 8;

    #[inline(always)]
    pub fn read(account: Account<'a>) -> Result<Self> {
        let data = account.data();
        if data.len() < 8 || data.get(0)? != DISCRIMINATOR {
            return Err(AnchorError::AccountDiscriminatorMismatch);
        }
        Ok(PositionSummary(data.first(Self::LENGTH)?))
    }

    /// Initializes a zeroed account as a new summary with nothing open.
    #[inline(always)]
    pub fn create(account: Account<'a>, vault: &Vault) -> Result {
        let data = account.data().first(Self::LENGTH)?;
        data.put(0, DISCRIMINATOR)?;
        data.put(VAULT, vault.key().0)?;
        data.put(OWNER, vault.owner()?.0)?;
        PositionSummary(data).write(0, 0)
    }

    #[inline(always)]
    pub fn vault(self) -> Result<Pubkey> {
        self.0.key(VAULT)
    }

    #[inline(always)]
    pub fn owner(self) -> Result<Pubkey> {
        self.0.key(OWNER)
    }

    #[inline(always)]
    pub fn open(self, amount: u64) -> Result {
        let positions = self.0.u64(OPEN_POSITIONS)?.checked_add(1);
        let locked = self.0.u64(LOCKED_AMOUNT)?.checked_add(amount);
        self.write(
            positions.ok_or(PositionError::Overflow)?,
            locked.ok_or(PositionError::Overflow)?,
        )
    }

    #[inline(always)]
    pub fn close(self, amount: u64) -> Result {
        let locked = self.0.u64(LOCKED_AMOUNT)?.checked_sub(amount);
        let locked = locked.ok_or(PositionError::InsufficientFunds)?;
        let positions = match locked {
            0 => 0,
            _ => self.0.u64(OPEN_POSITIONS)?.saturating_sub(1).max(1),
        };
        self.write(positions, locked)
    }

    /// Lowers the locked amount to what is `locked` in the vault. No position is open once that is
    /// zero. Returns whether anything changed.
    #[inline(always)]
    pub fn settle(self, locked: u64) -> Result<bool> {
        if self.0.u64(LOCKED_AMOUNT)? <= locked {
            return Ok(false);
        }
        let positions = if locked == 0 { 0 } else { self.0.u64(OPEN_POSITIONS)? };
        self.write(positions, locked)?;
        Ok(true)
    }

    #[inline(always)]
    fn write(self, positions: u64, locked: u64) -> Result {
        self.0.put(OPEN_POSITIONS, positions.to_le_bytes())?;
        self.0.put(LOCKED_AMOUNT, locked.to_le_bytes())?;
        self.0.put(LAST_UPDATED_SLOT, Clock::get()?.slot.to_le_bytes())
    }
}
