//! Calls to a yield program, which must move the vault's tokens by exactly what the books say.

use sdk::cpi::{self, Call, MAX_ACCOUNTS, Use};
use sdk::discriminator::discriminator;
use sdk::{Account, AnchorError, ProgramError, Result};

use crate::accounts::{self, VAULT};
use crate::errors::VaultError;
use crate::state::{List, Vault};

const DEPOSIT: [u8; 8] = discriminator("global", "deposit");
const WITHDRAW: [u8; 8] = discriminator("global", "withdraw");
const CLAIM: [u8; 8] = discriminator("global", "claim");

/// A yield program and the accounts that it is called with.
pub struct YieldCall<'a> {
    pub program: Account<'a>,
    pub accounts: &'a [Account<'a>],
    vault: Vault<'a>,
    vault_account: Account<'a>,
    tokens: Account<'a>,
}

/// Splits the remaining accounts: the yield program's, then the extra signers. Those are the last
/// ones that sign: no signature but the vault's is ever passed on.
#[inline(always)]
pub fn split<'a>(remaining: &'a [Account<'a>]) -> (&'a [Account<'a>], &'a [Account<'a>]) {
    let signers = remaining.iter().rev().take_while(|account| account.is_signer()).count();
    remaining.split_at(remaining.len() - signers)
}

impl<'a> YieldCall<'a> {
    /// The vault's token account must be among the accounts, so that the move can be seen.
    ///
    /// What the vault has with the other programs of the whitelist is out of this one's reach: with
    /// the vault's signature it could take that, and what only passes through the vault's tokens
    /// does not show in their amount. Nor may the program be ourselves: a vault that is a delegate
    /// of another one would pay into it.
    #[inline(always)]
    pub fn new(
        program: Account<'a>,
        whitelist: List,
        accounts: &'a [Account<'a>],
        vault: Vault<'a>,
        vault_account: Account<'a>,
    ) -> Result<Self> {
        if accounts.len() > MAX_ACCOUNTS {
            return Err(ProgramError::InvalidArgument);
        }
        if vault_account.owned_by(program.key()) {
            return Err(AnchorError::InvalidProgramId);
        }
        for index in 0..whitelist.len()? {
            let other = whitelist.key(index)?;
            if other != *program.key() && accounts.iter().any(|account| account.owned_by(&other)) {
                return Err(AnchorError::AccountOwnedByWrongProgram);
            }
        }
        let address = vault.token_account()?;
        let tokens = accounts.iter().find(|account| *account.key() == address);
        let tokens = *tokens.ok_or(AnchorError::AccountNotEnoughKeys)?;
        Ok(YieldCall { program, accounts, vault, vault_account, tokens })
    }

    /// `amount` of the vault's tokens goes to the yield program.
    #[inline(always)]
    pub fn deposit(&self, amount: u64) -> Result {
        let before = self.held()?;
        self.call(DEPOSIT, amount, before.checked_sub(amount))
    }

    /// `amount` of what was deposited comes back.
    #[inline(always)]
    pub fn withdraw(&self, amount: u64) -> Result {
        let before = self.held()?;
        self.call(WITHDRAW, amount, before.checked_add(amount))
    }

    /// `amount` of what was earned comes.
    #[inline(always)]
    pub fn claim(&self, amount: u64) -> Result {
        let before = self.held()?;
        self.call(CLAIM, amount, before.checked_add(amount))
    }

    /// The invariant, with the tokens at hand.
    #[inline(always)]
    pub fn check(&self) -> Result {
        self.vault.check(accounts::vault_token_account(&self.vault, self.tokens)?)
    }

    #[inline(always)]
    fn held(&self) -> Result<u64> {
        accounts::vault_token_account(&self.vault, self.tokens)?.amount()
    }

    /// Signed by the vault, the program could also approve, close or give away the token account:
    /// nothing of it may change but the amount, and its rent may not shrink.
    #[inline(never)]
    fn call(&self, name: [u8; 8], amount: u64, expected: Option<u64>) -> Result {
        let terms = accounts::vault_token_account(&self.vault, self.tokens)?.terms()?;
        let lamports = self.tokens.lamports();
        let mut data = [0; 16];
        data[..8].copy_from_slice(&name);
        data[8..].copy_from_slice(&amount.to_le_bytes());
        let mut uses = [Use::readonly(self.vault_account); MAX_ACCOUNTS];
        for (used, account) in uses.iter_mut().zip(self.accounts) {
            *used = Use::passed_on(*account, account.key() == self.vault.key());
        }
        let owner = self.vault.owner()?;
        cpi::invoke(&Call {
            program: self.program.key(),
            accounts: &uses[..self.accounts.len()],
            data: &data,
            signer: &[VAULT, owner.as_bytes(), &[self.vault.bump()?]],
        });
        let tokens = accounts::vault_token_account(&self.vault, self.tokens)?;
        let kept = tokens.terms()? == terms && self.tokens.lamports() >= lamports;
        if kept && Some(tokens.amount()?) == expected {
            Ok(())
        } else {
            Err(VaultError::InvariantViolation)
        }
    }
}
