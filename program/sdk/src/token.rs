//! The SPL Token and Associated Token Account programs.

use crate::cpi::{self, Call, Use};
use crate::hash::sha256;
use crate::{Account, AnchorError, Bytes, Pubkey, Result, pda};

pub const ID: Pubkey = Pubkey::from_base58("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
pub const ASSOCIATED_ID: Pubkey =
    Pubkey::from_base58("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");

const TRANSFER: u8 = 3;
const CLOSE_ACCOUNT: u8 = 9;
const FROZEN: u8 = 2;
const CREATE_IDEMPOTENT: u8 = 1;

/// A token account. Each call of `amount` reads the amount again.
#[derive(Clone, Copy)]
pub struct TokenAccount<'a>(Bytes<'a>);

impl<'a> TokenAccount<'a> {
    const LENGTH: usize = 165;
    const AMOUNT: usize = 64;
    const DELEGATE: usize = 72;
    const STATE: usize = 108;
    const CLOSE_AUTHORITY: usize = 129;

    /// Reads an initialized token account. The caller must check that SPL Token owns it.
    #[inline(always)]
    pub fn read(account: Account<'a>) -> Result<Self> {
        let data = account.data();
        if data.len() != Self::LENGTH || data.u8(Self::STATE)? == 0 {
            return Err(AnchorError::AccountNotInitialized);
        }
        Ok(TokenAccount(data))
    }

    #[inline(always)]
    pub fn mint(self) -> Result<Pubkey> {
        self.0.key(0)
    }

    #[inline(always)]
    pub fn owner(self) -> Result<Pubkey> {
        self.0.key(32)
    }

    #[inline(always)]
    pub fn amount(self) -> Result<u64> {
        self.0.u64(Self::AMOUNT)
    }

    /// True if a key other than the owner's may spend from the account or close it.
    #[inline(always)]
    pub fn is_shared(self) -> Result<bool> {
        Ok(self.0.u32(Self::DELEGATE)? != 0 || self.has_close_authority()?)
    }

    /// True if a key other than the owner's closes the account.
    #[inline(always)]
    pub fn has_close_authority(self) -> Result<bool> {
        Ok(self.0.u32(Self::CLOSE_AUTHORITY)? != 0)
    }

    #[inline(always)]
    pub fn is_frozen(self) -> Result<bool> {
        Ok(self.0.u8(Self::STATE)? == FROZEN)
    }

    /// Everything but the amount: mint, owner, state, and who else may spend or close.
    #[inline(always)]
    pub fn terms(self) -> Result<Terms> {
        Ok(Terms { before: self.0.get(0)?, behind: self.0.get(Self::AMOUNT + 8)? })
    }
}

/// The fields of a token account to compare before and after a call.
#[derive(PartialEq, Eq)]
pub struct Terms {
    before: [u8; TokenAccount::AMOUNT],
    behind: [u8; TokenAccount::LENGTH - TokenAccount::AMOUNT - 8],
}

impl Terms {
    /// Their hash, where memory is short.
    #[inline(always)]
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = [0; TokenAccount::LENGTH - 8];
        bytes[..TokenAccount::AMOUNT].copy_from_slice(&self.before);
        bytes[TokenAccount::AMOUNT..].copy_from_slice(&self.behind);
        sha256(&bytes)
    }
}

const MINT_LENGTH: usize = 82;
const MINT_SUPPLY: usize = 36;
const MINT_INITIALIZED: usize = 45;

/// True if the data are those of an initialized mint.
pub fn is_mint(account: Account) -> Result<bool> {
    let data = account.data();
    Ok(data.len() == MINT_LENGTH && data.u8(MINT_INITIALIZED)? == 1)
}

/// The supply of a mint.
#[inline(always)]
pub fn supply(mint: Account) -> Result<u64> {
    mint.data().u64(MINT_SUPPLY)
}

/// Moves `amount`. `signer` is the seeds of the PDA that is the authority, or empty.
#[inline(always)]
pub fn transfer(from: Account, to: Account, authority: Account, amount: u64, signer: &[&[u8]]) {
    let mut data = [TRANSFER; 9];
    data[1..].copy_from_slice(&amount.to_le_bytes());
    let accounts = [Use::writable(from), Use::writable(to), Use::signer(authority)];
    cpi::invoke(&Call { program: &ID, accounts: &accounts, data: &data, signer });
}

/// Closes an empty token account of the PDA with these seeds. Its rent goes to `heir`.
#[inline(always)]
pub fn close(account: Account, heir: Account, authority: Account, signer: &[&[u8]]) {
    let accounts = [Use::writable(account), Use::writable(heir), Use::signer(authority)];
    cpi::invoke(&Call { program: &ID, accounts: &accounts, data: &[CLOSE_ACCOUNT], signer });
}

/// The address of `wallet`'s associated token account for `mint`.
#[inline(always)]
pub fn associated_address(wallet: &Pubkey, mint: &Pubkey) -> Result<Pubkey> {
    let seeds = [wallet.as_bytes(), ID.as_bytes(), mint.as_bytes()];
    Ok(pda::find(seeds, &ASSOCIATED_ID)?.0)
}

/// Creates an associated token account unless it exists already.
pub fn create_associated(accounts: &AssociatedAccounts) {
    let used = [
        Use::writable_signer(accounts.payer),
        Use::writable(accounts.token_account),
        Use::readonly(accounts.wallet),
        Use::readonly(accounts.mint),
        Use::readonly(accounts.system_program),
        Use::readonly(accounts.token_program),
    ];
    cpi::invoke(&Call {
        program: &ASSOCIATED_ID,
        accounts: &used,
        data: &[CREATE_IDEMPOTENT],
        signer: &[],
    });
}

pub struct AssociatedAccounts<'a> {
    pub payer: Account<'a>,
    pub token_account: Account<'a>,
    pub wallet: Account<'a>,
    pub mint: Account<'a>,
    pub system_program: Account<'a>,
    pub token_program: Account<'a>,
}
