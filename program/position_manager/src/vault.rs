//! The accounts of a collateral vault program, as far as this program reads them.

use sdk::discriminator::discriminator;
use sdk::{Account, AnchorError, Bytes, Pubkey, Result};

/// Seeds of the program's addresses.
pub const VAULT: &[u8] = b"vault";
pub const VAULT_AUTHORITY: &[u8] = b"vault_authority";

const KEY: usize = 32;

const VAULT_DISCRIMINATOR: [u8; 8] = discriminator("account", "CollateralVault");
const OWNER: usize = 8;
const LOCKED_BALANCE: usize = 112;
const BUMP: usize = 208;
const MULTISIG_SIGNERS: usize = 210;
const SIGNERS: usize = 10;
const DELEGATES: usize = 16;

const AUTHORITY_DISCRIMINATOR: [u8; 8] = discriminator("account", "VaultAuthority");
const GOVERNANCE: usize = 8;
const AUTHORIZED_PROGRAMS: usize = 40;
const PROGRAMS: usize = 64;

#[derive(Clone, Copy)]
pub struct Vault<'a> {
    key: &'a Pubkey,
    data: Bytes<'a>,
}

impl<'a> Vault<'a> {
    #[inline(always)]
    pub fn read(account: Account<'a>) -> Result<Self> {
        Ok(Vault { key: account.key(), data: discriminated(account, VAULT_DISCRIMINATOR)? })
    }

    #[inline(always)]
    pub fn key(self) -> &'a Pubkey {
        self.key
    }

    #[inline(always)]
    pub fn owner(self) -> Result<Pubkey> {
        self.data.key(OWNER)
    }

    #[inline(always)]
    pub fn bump(self) -> Result<u8> {
        self.data.u8(BUMP)
    }

    #[inline(always)]
    pub fn locked(self) -> Result<u64> {
        self.data.u64(LOCKED_BALANCE)
    }

    /// Requires the owner or one of the delegates.
    #[inline(always)]
    pub fn may_trade(self, key: &Pubkey) -> Result<bool> {
        if *key == self.owner()? {
            return Ok(true);
        }
        let delegates = MULTISIG_SIGNERS + keys_length(self.data, MULTISIG_SIGNERS, SIGNERS)?;
        let end = delegates + keys_length(self.data, delegates, DELEGATES)?;
        let mut at = delegates + 4;
        while at < end {
            if self.data.key(at)? == *key {
                return Ok(true);
            }
            at += KEY;
        }
        Ok(false)
    }
}

#[derive(Clone, Copy)]
pub struct VaultAuthority<'a>(Bytes<'a>);

impl<'a> VaultAuthority<'a> {
    #[inline(always)]
    pub fn read(account: Account<'a>) -> Result<Self> {
        Ok(VaultAuthority(discriminated(account, AUTHORITY_DISCRIMINATOR)?))
    }

    #[inline(always)]
    pub fn governance(self) -> Result<Pubkey> {
        self.0.key(GOVERNANCE)
    }

    #[inline(always)]
    pub fn bump(self) -> Result<u8> {
        self.0.u8(AUTHORIZED_PROGRAMS + keys_length(self.0, AUTHORIZED_PROGRAMS, PROGRAMS)?)
    }
}

#[inline(always)]
fn discriminated(account: Account, discriminator: [u8; 8]) -> Result<Bytes> {
    let data = account.data();
    if data.len() < 8 || data.get(0)? != discriminator {
        return Err(AnchorError::AccountDiscriminatorMismatch);
    }
    Ok(data)
}

/// The number of bytes of a vector of addresses, including its length prefix.
#[inline(always)]
fn keys_length(data: Bytes, at: usize, capacity: usize) -> Result<usize> {
    let count = data.u32(at)? as usize;
    if count > capacity {
        return Err(AnchorError::AccountDidNotDeserialize);
    }
    Ok(4 + KEY * count)
}
