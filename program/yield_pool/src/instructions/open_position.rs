use sdk::{AnchorError, Context, Reader, Result, pda, system};

use crate::accounts;
use crate::errors::PoolError;
use crate::events::PositionOpened;
use crate::position::{self, Position};

/// Creates the position of any owner. Any signer may pay, since an owner may be a PDA, which
/// cannot.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (&[payer, owner, pool, account, system_program], _) = accounts::take(context)?;
    accounts::signer(payer)?;
    accounts::writable([payer, account])?;
    accounts::program(system_program, &system::ID)?;
    let pool = accounts::pool(context, pool)?;
    let (of, by) = (pool.key().as_bytes(), owner.key().as_bytes());
    let (address, bump) = pda::find([position::SEED, of, by], context.program_id)?;
    if address != *account.key() {
        return Err(AnchorError::ConstraintSeeds);
    }
    if account.owned_by(context.program_id) {
        return Err(PoolError::AlreadyInitialized);
    }

    let seeds = [position::SEED, of, by, &[bump]];
    system::create_pda(payer, account, Position::LENGTH as u64, context.program_id, &seeds)?;
    Position::create(account, pool.key(), owner.key(), bump)?;
    PositionOpened { pool: *pool.key(), position: *account.key(), owner: *owner.key() }.emit();
    Ok(())
}
