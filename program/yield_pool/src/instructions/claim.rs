use sdk::token::TokenAccount;
use sdk::{Context, Reader, Result};

use crate::errors::PoolError;
use crate::events::Claimed;
use crate::stake::Stake;

/// Pays accrued interest to the owner, only from the reserve.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let stake = Stake::read(context, arguments)?;
    let Stake { pool, position, reserve_tokens, owner_tokens, owner, amount, .. } = stake;
    position.claim(amount)?;
    let new_reserve = TokenAccount::read(reserve_tokens)?.amount()?.checked_sub(amount);
    let new_reserve = new_reserve.ok_or(PoolError::InsufficientReserve)?;
    pool.pay(reserve_tokens, owner_tokens, amount)?;
    stake.check()?;
    Claimed { pool: *pool.key(), owner: *owner.key(), amount, new_reserve }.emit();
    Ok(())
}
