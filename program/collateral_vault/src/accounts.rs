//! Account checks: is each account the one that the instruction expects? No account is trusted for
//! its position in the list.

pub use sdk::accounts::{owned, program, signer, take, writable};
use sdk::hash::sha256;
use sdk::token::{self, TokenAccount};
use sdk::{Account, AnchorError, Context, Pubkey, Result, pda};

use crate::errors::VaultError;
use crate::state::{GUARD_CHANGE_LENGTH, GuardRequest, TransferLimits, Vault, VaultAuthority};

/// Seeds of the program's addresses.
pub const VAULT: &[u8] = b"vault";
pub const VAULT_AUTHORITY: &[u8] = b"vault_authority";
pub const TRANSFER_LIMITS: &[u8] = b"transfer_limits";
pub const GUARD_CHANGE: &[u8] = b"guard_change";

/// The vault of `owner`: owned by this program, of the right type, at the address that its owner
/// and bump give.
#[inline(always)]
pub fn vault<'a>(context: &Context<'a>, account: Account<'a>, owner: Account) -> Result<Vault<'a>> {
    let vault = any_vault(context, account)?;
    if vault.owner()? != *owner.key() {
        return Err(AnchorError::ConstraintSeeds);
    }
    Ok(vault)
}

/// The owner who signs, his vault, both writable, and the remaining accounts.
#[inline(always)]
pub fn signing_owner<'a>(
    context: &Context<'a>,
) -> Result<(Account<'a>, Vault<'a>, &'a [Account<'a>])> {
    let (&[owner, vault_account], remaining) = take(context)?;
    signer(owner)?;
    writable([owner, vault_account])?;
    Ok((owner, vault(context, vault_account, owner)?, remaining))
}

/// The vault of the owner who signs, both writable: the first two accounts.
#[inline(always)]
pub fn signing_owners_vault<'a>(context: &Context<'a>) -> Result<Vault<'a>> {
    Ok(signing_owner(context)?.1)
}

/// A vault of any owner.
#[inline(always)]
pub fn any_vault<'a>(context: &Context<'a>, account: Account<'a>) -> Result<Vault<'a>> {
    owned(account, context.program_id)?;
    let vault = Vault::read(account)?;
    let (owner, bump) = (vault.owner()?, [vault.bump()?]);
    pda::verify(account.key(), [VAULT, owner.as_bytes(), &bump], context.program_id)?;
    Ok(vault)
}

/// The request of a change of the guards of the vault at `vault`, which belongs to `owner`. The
/// vault itself may be closed.
#[inline(always)]
pub fn guard_request<'a>(
    context: &Context,
    account: Account,
    buffer: &'a mut [u8; GUARD_CHANGE_LENGTH],
    vault: &Pubkey,
    owner: &Pubkey,
) -> Result<GuardRequest<'a>> {
    owned(account, context.program_id)?;
    let request = GuardRequest::read(account, buffer)?;
    let (hash, bump) = (sha256(request.change), [request.bump]);
    let seeds = [GUARD_CHANGE, vault.as_bytes(), &hash, &bump];
    pda::verify(account.key(), seeds, context.program_id)?;
    if request.vault == *vault && request.owner == *owner {
        Ok(request)
    } else {
        Err(AnchorError::ConstraintSeeds)
    }
}

/// The only authority account of the program.
#[inline(always)]
pub fn vault_authority<'a>(
    context: &Context<'a>,
    account: Account<'a>,
) -> Result<VaultAuthority<'a>> {
    owned(account, context.program_id)?;
    let authority = VaultAuthority::read(account)?;
    let bump = [authority.bump()?];
    pda::verify(account.key(), [VAULT_AUTHORITY, &bump], context.program_id)?;
    Ok(authority)
}

/// The authority account, writable, with the signature of the governance that it names.
#[inline(always)]
pub fn governed<'a>(context: &Context<'a>) -> Result<VaultAuthority<'a>> {
    let (&[governance, account], _) = take(context)?;
    signer(governance)?;
    writable([governance, account])?;
    let authority = vault_authority(context, account)?;
    if *governance.key() != authority.governance()? {
        return Err(VaultError::Unauthorized);
    }
    Ok(authority)
}

/// The only account of transfer limits, writable.
#[inline(always)]
pub fn transfer_limits<'a>(
    context: &Context<'a>,
    account: Account<'a>,
) -> Result<TransferLimits<'a>> {
    owned(account, context.program_id)?;
    writable([account])?;
    let limits = TransferLimits::read(account)?;
    let bump = [limits.bump()?];
    pda::verify(account.key(), [TRANSFER_LIMITS, &bump], context.program_id)?;
    Ok(limits)
}

/// The account that holds the vault's tokens.
#[inline(always)]
pub fn vault_token_account<'a>(vault: &Vault, account: Account<'a>) -> Result<TokenAccount<'a>> {
    if *account.key() != vault.token_account()? {
        return Err(AnchorError::ConstraintAssociated);
    }
    let tokens = token_account(vault, account)?;
    if tokens.owner()? != *vault.key() {
        return Err(AnchorError::ConstraintTokenOwner);
    }
    Ok(tokens)
}

/// The account that holds the vault's tokens, if nobody else may spend from it or close it.
#[inline(always)]
pub fn unshared_token_account<'a>(vault: &Vault, account: Account<'a>) -> Result<TokenAccount<'a>> {
    let tokens = vault_token_account(vault, account)?;
    if tokens.is_shared()? {
        return Err(VaultError::ForeignTokenAuthority);
    }
    Ok(tokens)
}

/// Checks that `mint` is a mint and `token_account` the address of the vault's tokens for it; the
/// token account need not exist yet.
#[inline(always)]
pub fn mint_of_vault(mint: Account, vault: Account, token_account: Account) -> Result {
    if !mint.owned_by(&token::ID) {
        return Err(VaultError::InvalidTokenProgramOwner);
    }
    if !token::is_mint(mint)? {
        return Err(AnchorError::AccountNotInitialized);
    }
    if token::associated_address(vault.key(), mint.key())? != *token_account.key() {
        return Err(AnchorError::ConstraintAssociated);
    }
    Ok(())
}

/// A token account of the vault's mint, of any owner, that is not the vault's own.
#[inline(always)]
pub fn outside_token_account<'a>(vault: &Vault, account: Account<'a>) -> Result<TokenAccount<'a>> {
    let tokens = token_account(vault, account)?;
    if tokens.owner()? == *vault.key() {
        return Err(AnchorError::ConstraintTokenOwner);
    }
    Ok(tokens)
}

/// A token account of any mint and owner.
#[inline(always)]
pub fn any_token_account(account: Account<'_>) -> Result<TokenAccount<'_>> {
    if !account.owned_by(&token::ID) {
        return Err(VaultError::InvalidTokenProgramOwner);
    }
    TokenAccount::read(account)
}

#[inline(always)]
fn token_account<'a>(vault: &Vault, account: Account<'a>) -> Result<TokenAccount<'a>> {
    let tokens = any_token_account(account)?;
    if tokens.mint()? != vault.usdt_mint()? {
        return Err(AnchorError::ConstraintTokenMint);
    }
    Ok(tokens)
}
