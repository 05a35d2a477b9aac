//! Tokens that leave a vault: what a withdrawal and an emergency withdrawal share.

use sdk::token::{self, TokenAccount};
use sdk::{Account, Context, Result};

use crate::accounts::{self, VAULT};
use crate::state::{Vault, VaultAuthority};

/// The checked accounts of a payout. The instruction decides who may receive it.
pub struct Payout<'a> {
    pub authority: Account<'a>,
    pub vault: Vault<'a>,
    pub vault_authority: VaultAuthority<'a>,
    pub recipient: TokenAccount<'a>,
    pub remaining: &'a [Account<'a>],
    tokens: TokenAccount<'a>,
    vault_account: Account<'a>,
    tokens_account: Account<'a>,
    recipient_account: Account<'a>,
}

impl<'a> Payout<'a> {
    #[inline(always)]
    pub fn read(context: &Context<'a>) -> Result<Self> {
        let (
            &[
                authority,
                owner,
                vault_account,
                vault_authority,
                tokens_account,
                recipient_account,
                token_program,
            ],
            remaining,
        ) = accounts::take(context)?;
        accounts::signer(authority)?;
        accounts::writable([authority, vault_account, tokens_account, recipient_account])?;
        accounts::program(token_program, &token::ID)?;
        let vault = accounts::vault(context, vault_account, owner)?;
        let vault_authority = accounts::vault_authority(context, vault_authority)?;
        let tokens = accounts::vault_token_account(&vault, tokens_account)?;
        let recipient = accounts::outside_token_account(&vault, recipient_account)?;
        Ok(Payout {
            authority,
            vault,
            vault_authority,
            recipient,
            remaining,
            tokens,
            vault_account,
            tokens_account,
            recipient_account,
        })
    }

    /// Sends `amount`, already subtracted from the balances, and checks what is left.
    #[inline(always)]
    pub fn send(&self, amount: u64) -> Result {
        let owner = self.vault.owner()?;
        let seeds = [VAULT, owner.as_bytes(), &[self.vault.bump()?]];
        let (from, to) = (self.tokens_account, self.recipient_account);
        token::transfer(from, to, self.vault_account, amount, &seeds);
        self.vault.check(self.tokens)
    }
}
