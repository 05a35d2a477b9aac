use sdk::{Context, Reader, Result, token};

use crate::accounts;
use crate::authorization::authorize_deposit;
use crate::errors::VaultError;
use crate::events::{DepositEvent, record, transaction_type};

/// Moves tokens that the authority may spend into the vault.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let amount = arguments.u64()?;
    arguments.end()?;
    let (&[authority, owner, vault_account, source, vault_tokens, token_program], _) =
        accounts::take(context)?;
    accounts::signer(authority)?;
    accounts::writable([authority, vault_account, source, vault_tokens])?;
    accounts::program(token_program, &token::ID)?;
    let vault = accounts::vault(context, vault_account, owner)?;
    // A vault of before may have one that another key can spend from.
    let tokens = accounts::unshared_token_account(&vault, vault_tokens)?;
    accounts::outside_token_account(&vault, source)?;

    if amount == 0 {
        return Err(VaultError::InvalidAmount);
    }
    authorize_deposit(&vault, authority)?;
    let mut balances = vault.balances()?;
    balances.deposit(amount)?;
    vault.set_balances(balances)?;
    token::transfer(source, vault_tokens, authority, amount, &[]);
    vault.check(tokens)?;

    DepositEvent {
        vault: *vault.key(),
        owner: *owner.key(),
        amount,
        new_total_balance: balances.total,
        new_available_balance: balances.available,
    }
    .emit();
    record(&vault, transaction_type::DEPOSIT, amount)
}
