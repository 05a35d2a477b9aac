//! The reserve: a token account at an address of this program, whose tokens the pool spends.
//!
//! It is not an associated token account: a wallet has one of those for each mint, and the pool's
//! holds the deposits.

use sdk::cpi::{self, Call, Use};
use sdk::{Account, AnchorError, Context, Pubkey, Result, pda, system, token};

pub const SEED: &[u8] = b"reserve";

const LENGTH: u64 = 165;
const INITIALIZE_ACCOUNT_3: u8 = 18;

/// Creates the reserve of a pool that does not exist yet.
#[inline(never)]
pub fn create(
    context: &Context,
    payer: Account,
    pool: &Pubkey,
    account: Account,
    mint: Account,
) -> Result {
    let seeds = [SEED, pool.as_bytes()];
    let (address, bump) = pda::find(seeds, context.program_id)?;
    if address != *account.key() {
        return Err(AnchorError::ConstraintSeeds);
    }
    let [name, of] = seeds;
    system::create_pda(payer, account, LENGTH, &token::ID, &[name, of, &[bump]])?;
    let mut data = [INITIALIZE_ACCOUNT_3; 33];
    data[1..].copy_from_slice(pool.as_bytes());
    let accounts = [Use::writable(account), Use::readonly(mint)];
    cpi::invoke(&Call { program: &token::ID, accounts: &accounts, data: &data, signer: &[] });
    Ok(())
}
