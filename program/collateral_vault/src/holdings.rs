//! The vault's token accounts beside its own one, such as those of a yield program's receipts.
//!
//! With the vault's signature a yield program could spend from them, share them with another key,
//! close them or give them away.

use sdk::token::{self, TokenAccount};
use sdk::{Account, ProgramError, Pubkey, Result};

use crate::errors::VaultError;
use crate::state::Vault;

const MAX_HOLDINGS: usize = 8;

/// A token account as it was before a call.
#[derive(Clone, Copy)]
struct Holding<'a> {
    account: Account<'a>,
    terms: [u8; 32],
    amount: u64,
    lamports: u64,
    /// The mint and its supply, if burns are recognized.
    burnable: Option<(Account<'a>, u64)>,
}

/// The vault's token accounts among the accounts of a call.
pub struct Holdings<'a> {
    vault: Vault<'a>,
    own: Account<'a>,
    accounts: &'a [Account<'a>],
    burns: bool,
    held: [Option<Holding<'a>>; MAX_HOLDINGS],
}

impl<'a> Holdings<'a> {
    /// Those among `accounts`, beside the vault's `own` one, once `read`. With `burns` tokens may be
    /// burned.
    #[inline(always)]
    pub fn new(
        vault: Vault<'a>,
        own: Account<'a>,
        accounts: &'a [Account<'a>],
        burns: bool,
    ) -> Self {
        Holdings { vault, own, accounts, burns, held: [None; MAX_HOLDINGS] }
    }

    /// Remembers them as they are before the call. Fails with `InvalidArgument` if there are more
    /// than eight.
    #[inline(never)]
    pub fn read(&mut self) -> Result {
        for account in self.accounts {
            let Some(tokens) = self.other_tokens(*account)? else { continue };
            if self.contains(*account) {
                continue; // passed twice
            }
            let holding = Holding {
                account: *account,
                terms: tokens.terms()?.digest(),
                amount: tokens.amount()?,
                lamports: account.lamports(),
                burnable: self.burnable(&tokens.mint()?)?,
            };
            let free = self.held.iter_mut().find(|held| held.is_none());
            *free.ok_or(ProgramError::InvalidArgument)? = Some(holding);
        }
        Ok(())
    }

    /// Checks them after the call: no byte but the amount differs, what left was burned, and no new
    /// one has another authority than the vault.
    #[inline(never)]
    pub fn check(&self) -> Result {
        for account in self.accounts {
            if let Some(tokens) = self.other_tokens(*account)?
                && !self.contains(*account)
                && (tokens.is_shared()? || tokens.is_frozen()?)
            {
                return Err(VaultError::InvariantViolation);
            }
        }
        for held in self.held.iter().flatten() {
            let kept = held.account.owned_by(&token::ID)
                && held.tokens()?.terms()?.digest() == held.terms
                && held.account.lamports() >= held.lamports;
            if !kept || self.left(&held.tokens()?.mint()?)? > held.burned()? {
                return Err(VaultError::InvariantViolation);
            }
        }
        Ok(())
    }

    /// A token account that the call may change, that belongs to the vault and is not its own one.
    #[inline(always)]
    fn other_tokens(&self, account: Account<'a>) -> Result<Option<TokenAccount<'a>>> {
        if !account.is_writable() || account.is(self.own) || !account.owned_by(&token::ID) {
            return Ok(None);
        }
        match TokenAccount::read(account) {
            Ok(tokens) if tokens.owner()? == *self.vault.key() => Ok(Some(tokens)),
            _ => Ok(None), // or a mint, a multisig, or not initialized
        }
    }

    #[inline(always)]
    fn contains(&self, account: Account) -> bool {
        self.held.iter().flatten().any(|held| held.account.is(account))
    }

    /// Without the mint among the accounts, no burn is recognized; nor is one of the vault's own
    /// mint, since a burn of what the vault lends would then pay for what leaves another account.
    #[inline(always)]
    fn burnable(&self, mint: &Pubkey) -> Result<Option<(Account<'a>, u64)>> {
        if !self.burns || *mint == self.vault.usdt_mint()? {
            return Ok(None);
        }
        match self.accounts.iter().find(|account| account.key() == mint) {
            Some(account) => Ok(Some((*account, token::supply(*account)?))),
            None => Ok(None),
        }
    }

    /// What left the accounts of a mint.
    #[inline(always)]
    fn left(&self, mint: &Pubkey) -> Result<u64> {
        let mut sum = 0u64;
        for held in self.held.iter().flatten() {
            let tokens = held.tokens()?;
            if tokens.mint()? == *mint {
                sum = sum.saturating_add(held.amount.saturating_sub(tokens.amount()?));
            }
        }
        Ok(sum)
    }
}

impl<'a> Holding<'a> {
    #[inline(always)]
    fn tokens(&self) -> Result<TokenAccount<'a>> {
        TokenAccount::read(self.account)
    }

    #[inline(always)]
    fn burned(&self) -> Result<u64> {
        match self.burnable {
            Some((mint, supply)) => Ok(supply.saturating_sub(token::supply(mint)?)),
            None => Ok(0),
        }
    }
}
