//! Is each account what the instruction takes it for? Nothing here trusts a position in a list.

pub use sdk::accounts::{owned, program, signer, take, writable};
use sdk::token::{self, TokenAccount};
use sdk::{Account, AnchorError, Context, Pubkey, Result, pda};

use crate::errors::PoolError;
use crate::pool::{self, Pool};
use crate::position::{self, Position};

/// A pool: ours, a pool, at the address that its mint, admin and bump give.
#[inline(always)]
pub fn pool<'a>(context: &Context<'a>, account: Account<'a>) -> Result<Pool<'a>> {
    owned(account, context.program_id)?;
    let pool = Pool::read(account)?;
    let (mint, admin, bump) = (pool.mint()?, pool.admin()?, [pool.bump()?]);
    let seeds = [pool::SEED, mint.as_bytes(), admin.as_bytes(), &bump];
    pda::verify(account.key(), seeds, context.program_id)?;
    Ok(pool)
}

/// The position of `owner` in `pool`: ours, a position, at the address that they and its bump give.
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

/// The account that holds what is deposited in the pool.
#[inline(always)]
pub fn pool_tokens<'a>(pool: &Pool, account: Account<'a>) -> Result<TokenAccount<'a>> {
    if *account.key() != pool.pool_tokens()? {
        return Err(AnchorError::ConstraintAssociated);
    }
    tokens(pool, account, pool.key())
}

/// The account that interest is paid from.
#[inline(always)]
pub fn reserve_tokens<'a>(pool: &Pool, account: Account<'a>) -> Result<TokenAccount<'a>> {
    if *account.key() != pool.reserve_tokens()? {
        return Err(AnchorError::ConstraintSeeds);
    }
    tokens(pool, account, pool.key())
}

/// A token account of the pool's mint that belongs to `owner`; whoever signs is never the pool.
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
