//! Calls to a yield program, which must move the vault's tokens by exactly the recorded amount.

use sdk::cpi::{self, Call, MAX_ACCOUNTS, Use};
use sdk::discriminator::discriminator;
use sdk::{Account, AnchorError, ProgramError, Pubkey, Result, loader, system, sysvar, token};

use crate::accounts::{self, VAULT};
use crate::errors::VaultError;
use crate::holdings::Holdings;
use crate::state::{List, Vault};

const DEPOSIT: [u8; 8] = discriminator("global", "deposit");
const WITHDRAW: [u8; 8] = discriminator("global", "withdraw");
const CLAIM: [u8; 8] = discriminator("global", "claim");

/// A yield program and the accounts passed to it.
pub struct YieldCall<'a> {
    pub program: Account<'a>,
    pub accounts: &'a [Account<'a>],
    vault: Vault<'a>,
    vault_account: Account<'a>,
    tokens: Account<'a>,
}

/// Splits the remaining accounts into the yield program's and the extra signers. The latter are the
/// last ones that sign: no signature but the vault's is ever passed on.
#[inline(always)]
pub fn split<'a>(remaining: &'a [Account<'a>]) -> (&'a [Account<'a>], &'a [Account<'a>]) {
    let signers = remaining.iter().rev().take_while(|account| account.is_signer()).count();
    remaining.split_at(remaining.len() - signers)
}

impl<'a> YieldCall<'a> {
    /// Checks the accounts. They must include the vault's token account, to verify the movement.
    ///
    /// The yield program may be hostile, and has the vault's signature. What the vault has with
    /// another program, listed or no longer, stays out of its reach: tokens that only pass through
    /// the vault's token account would not change its amount. So none of the accounts is a program
    /// that it could call with that signature, and none that another program owns is writable. Nor
    /// may the yield program be this program: a vault that is a delegate of another vault would
    /// deposit into it.
    ///
    /// Beyond that, no account is owned by one of the `barred` programs. None is barred from what gives
    /// tokens back, or whoever writes their list could keep what is lent.
    #[inline(always)]
    pub fn new(
        program: Account<'a>,
        barred: Option<List>,
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
        for account in accounts {
            require_harmless(*account, program.key(), vault_account.key())?;
        }
        if let Some(barred) = barred {
            require_none_of(barred, program.key(), accounts, vault.key())?;
        }
        let address = vault.token_account()?;
        let tokens = accounts.iter().find(|account| *account.key() == address);
        let tokens = *tokens.ok_or(AnchorError::AccountNotEnoughKeys)?;
        Ok(YieldCall { program, accounts, vault, vault_account, tokens })
    }

    /// Moves `amount` of the vault's tokens to the yield program.
    #[inline(always)]
    pub fn deposit(&self, amount: u64) -> Result {
        let before = self.held()?;
        self.call(DEPOSIT, amount, before.checked_sub(amount))
    }

    /// Takes back `amount` of what was deposited.
    #[inline(always)]
    pub fn withdraw(&self, amount: u64) -> Result {
        let before = self.held()?;
        self.call(WITHDRAW, amount, before.checked_add(amount))
    }

    /// Takes `amount` of what was earned.
    #[inline(always)]
    pub fn claim(&self, amount: u64) -> Result {
        let before = self.held()?;
        self.call(CLAIM, amount, before.checked_add(amount))
    }

    /// Checks the invariant, including the tokens.
    #[inline(always)]
    pub fn check(&self) -> Result {
        self.vault.check(accounts::vault_token_account(&self.vault, self.tokens)?)
    }

    #[inline(always)]
    fn held(&self) -> Result<u64> {
        accounts::vault_token_account(&self.vault, self.tokens)?.amount()
    }

    /// With the vault's signature the program could also approve, close or give away the token
    /// account: only its amount may change, and its rent may not shrink.
    ///
    /// The active program may burn its receipts when it gives back. Nobody else may burn any, since
    /// they are shares in what the active one holds.
    #[inline(never)]
    fn call(&self, name: [u8; 8], amount: u64, expected: Option<u64>) -> Result {
        let terms = accounts::vault_token_account(&self.vault, self.tokens)?.terms()?;
        let lamports = self.tokens.lamports();
        let burns = name == WITHDRAW && self.vault.active_yield_program()? == *self.program.key();
        let mut holdings = Holdings::new(self.vault, self.tokens, self.accounts, burns);
        holdings.read()?;
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
            holdings.check()
        } else {
            Err(VaultError::InvariantViolation)
        }
    }
}

/// Checks that no program of the list but the yield program owns one of the accounts.
#[inline(always)]
fn require_none_of(
    barred: List,
    program: &Pubkey,
    accounts: &[Account],
    vault: &Pubkey,
) -> Result {
    for index in 0..barred.len()? {
        let other = barred.key(index)?;
        let owns = |account: &Account| account.owned_by(&other) && !is_common(*account, vault);
        if other != *program && accounts.iter().any(owns) {
            return Err(AnchorError::AccountOwnedByWrongProgram);
        }
    }
    Ok(())
}

/// True for an account that any yield program may need, whoever is listed: an entry such as SPL
/// Token, which owns accounts of every call, would otherwise keep all that vaults have lent.
#[inline(never)]
fn is_common(account: Account, vault: &Pubkey) -> bool {
    account.key() == vault
        || loader::is_program(account)
        || [token::ID, system::ID, sysvar::ID].iter().any(|owner| account.owned_by(owner))
}

/// Checks that the yield program can do nothing with the account at the expense of another program:
/// it calls only itself and the programs of the interface, and changes only its own accounts, token
/// accounts, the vault's, and accounts that no program uses.
#[inline(always)]
fn require_harmless(account: Account, program: &Pubkey, vault: &Pubkey) -> Result {
    let key = account.key();
    if account.is_writable() {
        let harmless = account.owned_by(program)
            || account.owned_by(&token::ID)
            || account.owned_by(&system::ID)
            || key == vault;
        return if harmless { Ok(()) } else { Err(AnchorError::AccountOwnedByWrongProgram) };
    }
    let harmless = !loader::is_program(account)
        || key == program
        || *key == token::ID
        || *key == token::ASSOCIATED_ID
        || *key == system::ID;
    if harmless { Ok(()) } else { Err(AnchorError::InvalidProgramId) }
}
