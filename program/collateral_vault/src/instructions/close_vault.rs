use sdk::{Context, Reader, Result, token};

use crate::accounts::{self, VAULT};
use crate::authorization::authorize;
use crate::errors::VaultError;
use crate::events::VaultClosedEvent;
use crate::surplus;

/// Closes an empty vault and its token account. Their rent goes to the owner.
///
/// Remaining accounts: a token account of the owner for tokens that were sent without a deposit,
/// then extra signers, whom a multisig needs only for such tokens.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (&[user, vault_account, tokens_account, token_program], remaining) =
        accounts::take(context)?;
    accounts::signer(user)?;
    accounts::writable([user, vault_account, tokens_account])?;
    accounts::program(token_program, &token::ID)?;
    let vault = accounts::vault(context, vault_account, user)?;
    let tokens = accounts::vault_token_account(&vault, tokens_account)?;
    if vault.balances()?.total != 0 {
        return Err(VaultError::NonZeroBalance);
    }
    vault.check(tokens)?;
    let surplus = surplus::of_own_account(&vault, tokens)?;
    if surplus != 0 {
        let (recipient, signers) = remaining.split_first().ok_or(VaultError::NonZeroBalance)?;
        authorize(&vault, user, signers)?;
        surplus::send(&vault, vault_account, tokens_account, *recipient, surplus)?;
    }

    let seeds = [VAULT, user.key().as_bytes(), &[vault.bump()?]];
    token::close(tokens_account, user, vault_account, &seeds);
    vault_account.close(user)?;
    VaultClosedEvent { vault: *vault_account.key(), owner: *user.key() }.emit();
    Ok(())
}
