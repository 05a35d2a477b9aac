//! The amounts of a vault and their movements.

use sdk::Result;

use crate::errors::VaultError;

/// Amounts in the token's smallest unit, in the order of the account.
#[derive(Clone, Copy)]
pub struct Balances {
    pub total: u64,
    pub locked: u64,
    pub available: u64,
    pub total_deposited: u64,
    pub total_withdrawn: u64,
    pub yield_deposited: u64,
}

impl Balances {
    #[inline(always)]
    pub fn deposit(&mut self, amount: u64) -> Result {
        self.transfer_in(amount)?;
        self.total_deposited = add(self.total_deposited, amount)?;
        Ok(())
    }

    #[inline(always)]
    pub fn withdraw(&mut self, amount: u64) -> Result {
        self.transfer_out(amount)?;
        self.total_withdrawn = add(self.total_withdrawn, amount)?;
        Ok(())
    }

    /// A withdrawal by governance: first from available, then from locked.
    #[inline(always)]
    pub fn seize(&mut self, amount: u64) -> Result {
        self.unlock(amount.saturating_sub(self.available))?;
        self.withdraw(amount)
    }

    /// A transfer from another vault, which is neither a deposit nor a withdrawal.
    #[inline(always)]
    pub fn transfer_in(&mut self, amount: u64) -> Result {
        self.total = add(self.total, amount)?;
        self.available = add(self.available, amount)?;
        Ok(())
    }

    #[inline(always)]
    pub fn transfer_out(&mut self, amount: u64) -> Result {
        self.take(amount)?;
        self.total = self.total.checked_sub(amount).ok_or(VaultError::Overflow)?;
        Ok(())
    }

    /// A transfer to another vault: first from locked, then from available. Returns how much was
    /// locked.
    #[inline(always)]
    pub fn transfer_locked_first(&mut self, amount: u64) -> Result<u64> {
        let from_locked = amount.min(self.locked);
        self.unlock(from_locked)?;
        self.transfer_out(amount)?;
        Ok(from_locked)
    }

    /// From available to locked.
    #[inline(always)]
    pub fn lock(&mut self, amount: u64) -> Result {
        self.take(amount)?;
        self.locked = add(self.locked, amount)?;
        Ok(())
    }

    /// From locked to available.
    #[inline(always)]
    pub fn unlock(&mut self, amount: u64) -> Result {
        self.locked = self.locked.checked_sub(amount).ok_or(VaultError::InsufficientFunds)?;
        self.available = add(self.available, amount)?;
        Ok(())
    }

    /// From available to yield.
    #[inline(always)]
    pub fn yield_deposit(&mut self, amount: u64) -> Result {
        self.take(amount)?;
        self.yield_deposited = add(self.yield_deposited, amount)?;
        Ok(())
    }

    /// From yield to available.
    #[inline(always)]
    pub fn yield_withdraw(&mut self, amount: u64) -> Result {
        self.yield_deposited =
            self.yield_deposited.checked_sub(amount).ok_or(VaultError::InsufficientYieldBalance)?;
        self.available = add(self.available, amount)?;
        Ok(())
    }

    /// Yield that was not in the balances before.
    #[inline(always)]
    pub fn compound(&mut self, amount: u64) -> Result {
        self.total = add(self.total, amount)?;
        self.yield_deposited = add(self.yield_deposited, amount)?;
        Ok(())
    }

    /// Takes from available; the caller adds it elsewhere.
    #[inline(always)]
    pub fn take(&mut self, amount: u64) -> Result {
        self.available = self.available.checked_sub(amount).ok_or(VaultError::InsufficientFunds)?;
        Ok(())
    }
}

/// A sum, or `Overflow` if it does not fit.
#[inline(always)]
pub fn add(one: u64, other: u64) -> Result<u64> {
    one.checked_add(other).ok_or(VaultError::Overflow)
}
