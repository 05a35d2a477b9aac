//! Who may act on a vault.

use sdk::{Account, Result};

use crate::errors::VaultError;
use crate::state::Vault;

/// Without multisig, requires the owner or a delegate. With multisig, requires at least `threshold`
/// of the configured signers among `authority` and `others`, each counted once.
#[inline(always)]
pub fn authorize(vault: &Vault, authority: Account, others: &[Account]) -> Result {
    let threshold = vault.multisig_threshold()?;
    if threshold == 0 {
        return owner_or_delegate(vault, authority);
    }
    if enough_sign(vault, threshold, authority, others)? {
        Ok(())
    } else {
        Err(VaultError::Unauthorized)
    }
}

/// True if at least `threshold` of the configured signers are among `authority` and `others`.
#[inline(always)]
pub fn enough_sign(
    vault: &Vault,
    threshold: u8,
    authority: Account,
    others: &[Account],
) -> Result<bool> {
    let signers = vault.multisig_signers();
    let mut count = 0;
    for index in 0..signers.len()? {
        let signer = signers.key(index)?;
        if signs(authority, &signer) || others.iter().any(|other| signs(*other, &signer)) {
            count += 1;
        }
    }
    Ok(count >= usize::from(threshold))
}

/// For a deposit, requires the owner or, without multisig, a delegate.
#[inline(always)]
pub fn authorize_deposit(vault: &Vault, authority: Account) -> Result {
    if vault.multisig_threshold()? == 0 {
        return owner_or_delegate(vault, authority);
    }
    if *authority.key() == vault.owner()? { Ok(()) } else { Err(VaultError::Unauthorized) }
}

#[inline(always)]
fn owner_or_delegate(vault: &Vault, authority: Account) -> Result {
    let key = authority.key();
    if *key == vault.owner()? || vault.delegates()?.contains(key)? {
        return Ok(());
    }
    Err(VaultError::Unauthorized)
}

#[inline(always)]
fn signs(account: Account, signer: &sdk::Pubkey) -> bool {
    account.is_signer() && account.key() == signer
}
