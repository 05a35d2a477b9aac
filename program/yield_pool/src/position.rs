//! A position: one owner's principal in one pool, and the interest it has earned.

use sdk::discriminator::discriminator;
use sdk::{Account, AnchorError, Bytes, Pubkey, Result};

use crate::errors::PoolError;
use crate::interest;

pub const SEED: &[u8] = b"position";

const DISCRIMINATOR: [u8; 8] = discriminator("account", "Position");
const POOL: usize = 8;
const OWNER: usize = 40;
const PRINCIPAL: usize = 72;
const INDEX: usize = 80;
const ACCRUED: usize = 88;
const BUMP: usize = 104;

#[derive(Clone, Copy)]
pub struct Position<'a>(Bytes<'a>);

impl<'a> Position<'a> {
    pub const LENGTH: usize = BUMP + 1;

    #[inline(always)]
    pub fn read(account: Account<'a>) -> Result<Self> {
        let data = account.data();
        if data.len() < 8 || data.get(0)? != DISCRIMINATOR {
            return Err(AnchorError::AccountDiscriminatorMismatch);
        }
        Ok(Position(data.first(Self::LENGTH)?))
    }

    /// Initializes a zeroed account as a new position with nothing in it and nothing earned.
    ///
    /// Its index may be zero: no principal has grown with the pool's index until now.
    #[inline(always)]
    pub fn create(account: Account<'a>, pool: &Pubkey, owner: &Pubkey, bump: u8) -> Result {
        let data = account.data().first(Self::LENGTH)?;
        data.put(0, DISCRIMINATOR)?;
        data.put(POOL, pool.0)?;
        data.put(OWNER, owner.0)?;
        data.put(BUMP, [bump])
    }

    #[inline(always)]
    pub fn bump(self) -> Result<u8> {
        self.0.u8(BUMP)
    }

    #[inline(always)]
    fn principal(self) -> Result<u64> {
        self.0.u64(PRINCIPAL)
    }

    #[inline(always)]
    fn accrued(self) -> Result<u128> {
        Ok(u128::from_le_bytes(self.0.get(ACCRUED)?))
    }

    /// Adds what the principal has earned while the pool's index grew to `index`.
    #[inline(always)]
    pub fn accrue(self, index: u64) -> Result {
        let growth = index.checked_sub(self.0.u64(INDEX)?).ok_or(PoolError::Overflow)?;
        let earned = interest::accrual(self.principal()?, growth);
        self.set_accrued(self.accrued()?.checked_add(earned))?;
        self.0.put(INDEX, index.to_le_bytes())
    }

    #[inline(always)]
    pub fn deposit(self, amount: u64) -> Result<u64> {
        let principal = self.principal()?.checked_add(amount).ok_or(PoolError::Overflow)?;
        self.0.put(PRINCIPAL, principal.to_le_bytes())?;
        Ok(principal)
    }

    #[inline(always)]
    pub fn withdraw(self, amount: u64) -> Result<u64> {
        let principal = self.principal()?.checked_sub(amount);
        let principal = principal.ok_or(PoolError::InsufficientPrincipal)?;
        self.0.put(PRINCIPAL, principal.to_le_bytes())?;
        Ok(principal)
    }

    #[inline(always)]
    pub fn claim(self, amount: u64) -> Result {
        let left = self.accrued()?.checked_sub(interest::price(amount));
        self.set_accrued(Some(left.ok_or(PoolError::InsufficientInterest)?))
    }

    #[inline(always)]
    fn set_accrued(self, accrued: Option<u128>) -> Result {
        self.0.put(ACCRUED, accrued.ok_or(PoolError::Overflow)?.to_le_bytes())
    }
}
