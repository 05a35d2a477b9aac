use sdk::sysvar::Clock;
use sdk::token::{self, AssociatedAccounts};
use sdk::{AnchorError, Context, Reader, Result, pda, system};

use crate::errors::PoolError;
use crate::events::PoolInitialized;
use crate::interest::MAX_RATE_BPS;
use crate::pool::{self, NewPool, Pool};
use crate::{accounts, reserve};

/// Creates the admin's pool of a mint and its two token accounts. The admin pays.
///
/// The admin is part of the address: nobody can take the place of another's pool.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let rate_bps = arguments.u32()?;
    arguments.end()?;
    let (
        &[
            admin,
            mint,
            account,
            pool_tokens,
            reserve_tokens,
            system_program,
            token_program,
            associated_program,
        ],
        _,
    ) = accounts::take(context)?;
    accounts::signer(admin)?;
    accounts::writable([admin, account, pool_tokens, reserve_tokens])?;
    accounts::program(system_program, &system::ID)?;
    accounts::program(token_program, &token::ID)?;
    accounts::program(associated_program, &token::ASSOCIATED_ID)?;
    let (of, by) = (mint.key().as_bytes(), admin.key().as_bytes());
    let (address, bump) = pda::find([pool::SEED, of, by], context.program_id)?;
    if address != *account.key() {
        return Err(AnchorError::ConstraintSeeds);
    }
    if account.owned_by(context.program_id) {
        return Err(PoolError::AlreadyInitialized);
    }
    if !mint.owned_by(&token::ID) {
        return Err(PoolError::InvalidTokenProgramOwner);
    }
    if !token::is_mint(mint)? {
        return Err(AnchorError::AccountNotInitialized);
    }
    if token::associated_address(account.key(), mint.key())? != *pool_tokens.key() {
        return Err(AnchorError::ConstraintAssociated);
    }

    if rate_bps > MAX_RATE_BPS {
        return Err(PoolError::RateTooHigh);
    }
    let seeds = [pool::SEED, of, by, &[bump]];
    system::create_pda(admin, account, Pool::LENGTH as u64, context.program_id, &seeds)?;
    token::create_associated(&AssociatedAccounts {
        payer: admin,
        token_account: pool_tokens,
        wallet: account,
        mint,
        system_program,
        token_program,
    });
    reserve::create(context, admin, account.key(), reserve_tokens, mint)?;
    let new = NewPool {
        admin: admin.key(),
        mint: mint.key(),
        pool_tokens: pool_tokens.key(),
        reserve_tokens: reserve_tokens.key(),
        rate_bps,
        now: Clock::get()?.unix_timestamp,
        bump,
    };
    let pool = Pool::create(account, &new)?;
    accounts::pool_tokens(&pool, pool_tokens)?;
    accounts::reserve_tokens(&pool, reserve_tokens)?;
    PoolInitialized { pool: *pool.key(), admin: *admin.key(), mint: *mint.key(), rate_bps }.emit();
    Ok(())
}
