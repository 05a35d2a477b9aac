//! What an owner does with a position: the common part of `deposit`, `withdraw` and `claim`.
//!
//! All three take the same accounts, so that a caller that claims and then deposits passes one
//! list.

use sdk::sysvar::Clock;
use sdk::token::{self, TokenAccount};
use sdk::{Account, Context, Reader, Result};

use crate::accounts;
use crate::errors::PoolError;
use crate::pool::Pool;
use crate::position::Position;

/// The checked accounts, with interest accrued until now.
pub struct Stake<'a> {
    pub pool: Pool<'a>,
    pub position: Position<'a>,
    pub pool_tokens: Account<'a>,
    pub reserve_tokens: Account<'a>,
    pub owner_tokens: Account<'a>,
    pub owner: Account<'a>,
    pub amount: u64,
}

impl<'a> Stake<'a> {
    #[inline(always)]
    pub fn read(context: &Context<'a>, arguments: &mut Reader) -> Result<Self> {
        let amount = arguments.u64()?;
        arguments.end()?;
        let (&[pool, position, pool_tokens, reserve_tokens, owner_tokens, owner, token_program], _) =
            accounts::take(context)?;
        accounts::signer(owner)?;
        accounts::writable([pool, position, pool_tokens, reserve_tokens, owner_tokens])?;
        accounts::program(token_program, &token::ID)?;
        let pool = accounts::pool(context, pool)?;
        let position = accounts::position(context, position, &pool, owner.key())?;
        accounts::pool_tokens(&pool, pool_tokens)?;
        accounts::reserve_tokens(&pool, reserve_tokens)?;
        accounts::tokens(&pool, owner_tokens, owner.key())?;

        if amount == 0 {
            return Err(PoolError::InvalidAmount);
        }
        position.accrue(pool.accrue(Clock::get()?.unix_timestamp)?)?;
        Ok(Stake { pool, position, pool_tokens, reserve_tokens, owner_tokens, owner, amount })
    }

    /// The invariant: the pool holds all that was deposited.
    #[inline(always)]
    pub fn check(&self) -> Result {
        let held = TokenAccount::read(self.pool_tokens)?.amount()?;
        if held >= self.pool.total_principal()? {
            Ok(())
        } else {
            Err(PoolError::InvariantViolation)
        }
    }
}
