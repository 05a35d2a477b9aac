use sdk::sysvar::{Clock, RENT_ID};
use sdk::token::{self, AssociatedAccounts};
use sdk::{AnchorError, Context, Reader, Result, pda, system};

use crate::accounts::{self, VAULT};
use crate::errors::VaultError;
use crate::events::VaultInitializedEvent;
use crate::state::{NewVault, Vault};

/// Creates the vault of `user`, who pays, and its token account unless that exists already.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (
        &[
            user,
            vault,
            token_account,
            mint,
            system_program,
            token_program,
            associated_program,
            rent,
        ],
        _,
    ) = accounts::take(context)?;
    accounts::signer(user)?;
    accounts::writable([user, vault, token_account])?;
    accounts::program(system_program, &system::ID)?;
    accounts::program(token_program, &token::ID)?;
    accounts::program(associated_program, &token::ASSOCIATED_ID)?;
    if *rent.key() != RENT_ID {
        return Err(AnchorError::AccountSysvarMismatch);
    }
    let (address, bump) = pda::find([VAULT, user.key().as_bytes()], context.program_id)?;
    if address != *vault.key() {
        return Err(AnchorError::ConstraintSeeds);
    }
    if vault.owned_by(context.program_id) {
        return Err(VaultError::AlreadyInitialized);
    }
    accounts::mint_of_vault(mint, vault, token_account)?;

    let seeds = [VAULT, user.key().as_bytes(), &[bump]];
    system::create_pda(user, vault, Vault::LENGTH as u64, context.program_id, &seeds)?;
    token::create_associated(&AssociatedAccounts {
        payer: user,
        token_account,
        wallet: vault,
        mint,
        system_program,
        token_program,
    });
    let new = Vault::create(
        vault,
        &NewVault {
            owner: user.key(),
            token_account: token_account.key(),
            usdt_mint: mint.key(),
            bump,
            created_at: Clock::get()?.unix_timestamp,
        },
    )?;
    new.check(accounts::unshared_token_account(&new, token_account)?)?;
    VaultInitializedEvent {
        vault: *vault.key(),
        owner: *user.key(),
        token_account: *token_account.key(),
        usdt_mint: *mint.key(),
    }
    .emit();
    Ok(())
}
