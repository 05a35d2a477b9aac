//! Account checks: is each account the one that the instruction expects? No account is trusted for
//! its position in the list.

pub use sdk::accounts::{owned, program, signer, take, writable};
use sdk::token::{self, TokenAccount};
use sdk::{Account, AnchorError, Context, Pubkey, Result, pda};

use crate::errors::PoolError;
use crate::pool::{self, Pool};
use crate::position::{self, Position};

/// A pool: owned by this program, of the right type, at the address that its mint, admin and bump
/// give.
#[inline(always)]
pub fn pool<'a>(context: &Context<'a>, account: Account<'a>) -> Result<Pool<'a>> {
    owned(account, context.program_id)?;
    let pool = Pool::read(account)?;
    let (mint, admin, bump) = (pool.mint()?, pool.admin()?, [pool.bump()?]);
    let seeds = [pool::SEED, mint.as_bytes(), admin.as_bytes(), &bump];
    pda::verify(account.key(), seeds, context.program_id)?;
    Ok(pool)
}

/// The position of `owner` in `pool`: owned by this program, of the right type, at the address that
/// they and its bump give.
#[inline(always)]
pub fn position<'a>(
    context: &Context<'a>,
    account: Account<'a>,
    pool: &Pool,
    owner: &Pubkey,
) -> Result<Position<'a>> {
    owned(account, context.program_id)?;
    let position = Position::read(account)?;
    let bump = [position.bump()?];
    let seeds = [position::SEED, pool.key().as_bytes(), owner.as_bytes(), &bump];
    pda::verify(account.key(), seeds, context.program_id)?;
    Ok(position)
}

/// The account that holds the pool's deposits.
#[inline(always)]
pub fn pool_tokens<'a>(pool: &Pool, account: Account<'a>) -> Result<TokenAccount<'a>> {
    if *account.key() != pool.pool_tokens()? {
        return Err(AnchorError::ConstraintAssociated);
    }
    tokens(pool, account, pool.key())
}

/// The account that pays interest.
#[inline(always)]
pub fn reserve_tokens<'a>(pool: &Pool, account: Account<'a>) -> Result<TokenAccount<'a>> {
    if *account.key() != pool.reserve_tokens()? {
        return Err(AnchorError::ConstraintSeeds);
    }
    tokens(pool, account, pool.key())
}

/// A token account of the pool's mint that belongs to `owner`. The signer is never the pool.
#[inline(always)]
pub fn tokens<'a>(pool: &Pool, account: Account<'a>, owner: &Pubkey) -> Result<TokenAccount<'a>> {
    if !account.owned_by(&token::ID) {
        return Err(PoolError::InvalidTokenProgramOwner);
    }
    let tokens = TokenAccount::read(account)?;
    if tokens.mint()? != pool.mint()? {
        return Err(AnchorError::ConstraintTokenMint);
    }
    if tokens.owner()? != *owner {
        return Err(AnchorError::ConstraintTokenOwner);
    }
    Ok(tokens)
}
