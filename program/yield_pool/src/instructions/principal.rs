use sdk::{Context, Reader, Result, token};

use crate::events::{Deposited, Withdrawn};
use crate::stake::Stake;

/// Moves the owner's tokens into the pool, where they earn interest from now on.
#[inline(never)]
pub fn deposit(context: &Context, arguments: &mut Reader) -> Result {
    let stake = Stake::read(context, arguments)?;
    let Stake { pool, position, pool_tokens, owner_tokens, owner, amount, .. } = stake;
    let new_principal = position.deposit(amount)?;
    let new_total_principal = pool.deposit(amount)?;
    token::transfer(owner_tokens, pool_tokens, owner, amount, &[]);
    stake.check()?;
    Deposited {
        pool: *pool.key(),
        owner: *owner.key(),
        amount,
        new_principal,
        new_total_principal,
    }
    .emit();
    Ok(())
}

/// Returns principal to the owner. The interest it has earned can still be claimed.
#[inline(never)]
pub fn withdraw(context: &Context, arguments: &mut Reader) -> Result {
    let stake = Stake::read(context, arguments)?;
    let Stake { pool, position, pool_tokens, owner_tokens, owner, amount, .. } = stake;
    let new_principal = position.withdraw(amount)?;
    let new_total_principal = pool.withdraw(amount)?;
    pool.pay(pool_tokens, owner_tokens, amount)?;
    stake.check()?;
    Withdrawn {
        pool: *pool.key(),
        owner: *owner.key(),
        amount,
        new_principal,
        new_total_principal,
    }
    .emit();
    Ok(())
}
