use sdk::token::{self, AssociatedAccounts};
use sdk::{Context, Reader, Result, system};

use crate::accounts;
use crate::errors::VaultError;
use crate::events::UpdateUsdtMintEvent;

/// Gives an empty vault another mint, and creates its token account unless that exists already.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (
        &[
            governance,
            _,
            vault_account,
            token_account,
            new_mint,
            system_program,
            token_program,
            associated_program,
        ],
        _,
    ) = accounts::take(context)?;
    accounts::governed(context)?;
    accounts::writable([vault_account, token_account])?;
    accounts::program(system_program, &system::ID)?;
    accounts::program(token_program, &token::ID)?;
    accounts::program(associated_program, &token::ASSOCIATED_ID)?;
    let vault = accounts::any_vault(context, vault_account)?;
    accounts::mint_of_vault(new_mint, vault_account, token_account)?;
    if vault.balances()?.total != 0 {
        return Err(VaultError::NonZeroBalance);
    }

    token::create_associated(&AssociatedAccounts {
        payer: governance,
        token_account,
        wallet: vault_account,
        mint: new_mint,
        system_program,
        token_program,
    });
    let old_mint = vault.usdt_mint()?;
    vault.set_mint(new_mint.key(), token_account.key())?;
    vault.check(accounts::unshared_token_account(&vault, token_account)?)?;
    UpdateUsdtMintEvent { vault: *vault.key(), old_mint, new_mint: *new_mint.key() }.emit();
    Ok(())
}
