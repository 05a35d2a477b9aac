use sdk::{Context, Reader, Result, token};

use crate::accounts;
use crate::errors::PoolError;
use crate::events::ReserveFunded;

/// Moves tokens into the reserve, which only pays interest.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let amount = arguments.u64()?;
    arguments.end()?;
    let (&[pool, reserve_tokens, funder_tokens, funder, token_program], _) =
        accounts::take(context)?;
    accounts::signer(funder)?;
    accounts::writable([reserve_tokens, funder_tokens])?;
    accounts::program(token_program, &token::ID)?;
    let pool = accounts::pool(context, pool)?;
    accounts::reserve_tokens(&pool, reserve_tokens)?;
    accounts::tokens(&pool, funder_tokens, funder.key())?;

    if amount == 0 {
        return Err(PoolError::InvalidAmount);
    }
    token::transfer(funder_tokens, reserve_tokens, funder, amount, &[]);
    ReserveFunded { pool: *pool.key(), funder: *funder.key(), amount }.emit();
    Ok(())
}
