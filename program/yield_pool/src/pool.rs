//! The pool: its identity, its total deposits, and the growth of its interest index.

use sdk::discriminator::discriminator;
use sdk::{Account, AnchorError, Bytes, Pubkey, Result, token};

use crate::errors::PoolError;
use crate::interest;

pub const SEED: &[u8] = b"pool";

const DISCRIMINATOR: [u8; 8] = discriminator("account", "Pool");
const ADMIN: usize = 8;
const MINT: usize = 40;
const POOL_TOKENS: usize = 72;
const RESERVE_TOKENS: usize = 104;
const RATE_BPS: usize = 136;
const TOTAL_PRINCIPAL: usize = 140;
const INDEX: usize = 148;
const LAST_ACCRUED_AT: usize = 156;
const BUMP: usize = 164;

#[derive(Clone, Copy)]
pub struct Pool<'a> {
    account: Account<'a>,
    data: Bytes<'a>,
}

/// The values of a new pool.
pub struct NewPool<'a> {
    pub admin: &'a Pubkey,
    pub mint: &'a Pubkey,
    pub pool_tokens: &'a Pubkey,
    pub reserve_tokens: &'a Pubkey,
    pub rate_bps: u32,
    pub now: i64,
    pub bump: u8,
}

impl<'a> Pool<'a> {
    pub const LENGTH: usize = BUMP + 1;

    #[inline(always)]
    pub fn read(account: Account<'a>) -> Result<Self> {
        let data = account.data();
        if data.len() < 8 || data.get(0)? != DISCRIMINATOR {
            return Err(AnchorError::AccountDiscriminatorMismatch);
        }
        Ok(Pool { account, data: data.first(Self::LENGTH)? })
    }

    /// Initializes a zeroed account as a new pool with nothing deposited and nothing accrued.
    #[inline(always)]
    pub fn create(account: Account<'a>, new: &NewPool) -> Result<Self> {
        let data = account.data().first(Self::LENGTH)?;
        data.put(0, DISCRIMINATOR)?;
        data.put(ADMIN, new.admin.0)?;
        data.put(MINT, new.mint.0)?;
        data.put(POOL_TOKENS, new.pool_tokens.0)?;
        data.put(RESERVE_TOKENS, new.reserve_tokens.0)?;
        data.put(RATE_BPS, new.rate_bps.to_le_bytes())?;
        data.put(LAST_ACCRUED_AT, new.now.to_le_bytes())?;
        data.put(BUMP, [new.bump])?;
        Ok(Pool { account, data })
    }

    #[inline(always)]
    pub fn key(self) -> &'a Pubkey {
        self.account.key()
    }

    #[inline(always)]
    pub fn admin(self) -> Result<Pubkey> {
        self.data.key(ADMIN)
    }

    #[inline(always)]
    pub fn mint(self) -> Result<Pubkey> {
        self.data.key(MINT)
    }

    #[inline(always)]
    pub fn pool_tokens(self) -> Result<Pubkey> {
        self.data.key(POOL_TOKENS)
    }

    #[inline(always)]
    pub fn reserve_tokens(self) -> Result<Pubkey> {
        self.data.key(RESERVE_TOKENS)
    }

    #[inline(always)]
    pub fn rate_bps(self) -> Result<u32> {
        self.data.u32(RATE_BPS)
    }

    #[inline(always)]
    pub fn set_rate_bps(self, rate: u32) -> Result {
        self.data.put(RATE_BPS, rate.to_le_bytes())
    }

    #[inline(always)]
    pub fn total_principal(self) -> Result<u64> {
        self.data.u64(TOTAL_PRINCIPAL)
    }

    #[inline(always)]
    pub fn bump(self) -> Result<u8> {
        self.data.u8(BUMP)
    }

    /// Advances the index to now, at the rate in force until now, and returns it.
    #[inline(always)]
    pub fn accrue(self, now: i64) -> Result<u64> {
        let since = self.data.i64(LAST_ACCRUED_AT)?;
        let growth = interest::growth(self.rate_bps()?, since, now);
        let index = self.data.u64(INDEX)?.saturating_add(growth);
        self.data.put(INDEX, index.to_le_bytes())?;
        self.data.put(LAST_ACCRUED_AT, now.max(since).to_le_bytes())?;
        Ok(index)
    }

    #[inline(always)]
    pub fn deposit(self, amount: u64) -> Result<u64> {
        self.set_total(self.total_principal()?.checked_add(amount))
    }

    #[inline(always)]
    pub fn withdraw(self, amount: u64) -> Result<u64> {
        self.set_total(self.total_principal()?.checked_sub(amount))
    }

    #[inline(always)]
    fn set_total(self, total: Option<u64>) -> Result<u64> {
        let total = total.ok_or(PoolError::Overflow)?;
        self.data.put(TOTAL_PRINCIPAL, total.to_le_bytes())?;
        Ok(total)
    }

    /// Moves tokens that the pool holds, from its deposits or its reserve.
    #[inline(always)]
    pub fn pay(self, from: Account, to: Account, amount: u64) -> Result {
        let (mint, admin, bump) = (self.mint()?, self.admin()?, [self.bump()?]);
        let seeds = [SEED, mint.as_bytes(), admin.as_bytes(), &bump];
        token::transfer(from, to, self.account, amount, &seeds);
        Ok(())
    }
}
