use sdk::sysvar::Clock;
use sdk::{Context, Pubkey, Reader, Result};

use crate::accounts;
use crate::authorization::authorize;
use crate::errors::VaultError;
use crate::events::{
    YieldCompoundEvent, YieldDepositEvent, YieldWithdrawEvent, record, transaction_type,
};
use crate::state::{Balances, Vault, add};
use crate::yield_call::{self, YieldCall};

/// A movement of yield, authorized by its signers, with a whitelisted program.
struct Movement<'a> {
    vault: Vault<'a>,
    program: Pubkey,
    amount: u64,
    by_delegate: bool,
    /// None without remaining accounts, when only balances change.
    call: Option<YieldCall<'a>>,
}

/// Moves available tokens into a yield program.
///
/// Remaining accounts of all three instructions: the yield program's, then extra signers.
#[inline(never)]
pub fn deposit(context: &Context, arguments: &mut Reader) -> Result {
    let movement = read(context, arguments, false)?;
    let Movement { vault, program, amount, .. } = movement;
    movement.choose_program()?;
    let mut balances = vault.balances()?;
    balances.yield_deposit(amount)?;
    match &movement.call {
        Some(call) => call.deposit(amount)?,
        None => vault.set_yield_kept(add(vault.yield_kept()?, amount)?)?,
    }
    movement.write(balances)?;
    YieldDepositEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        program,
        amount,
        new_yield_balance: balances.yield_deposited,
        new_available_balance: balances.available,
    }
    .emit();
    record(&vault, transaction_type::YIELD_DEPOSIT, amount)
}

/// Moves tokens back from a yield program, also from one that is no longer listed, if it is the
/// vault's active one: its removal must not keep what was lent.
#[inline(never)]
pub fn withdraw(context: &Context, arguments: &mut Reader) -> Result {
    let movement = read(context, arguments, true)?;
    let Movement { vault, program, amount, .. } = movement;
    let mut balances = vault.balances()?;
    balances.yield_withdraw(amount)?;
    let kept = vault.yield_kept()?;
    match &movement.call {
        Some(call) if balances.yield_deposited >= kept => call.withdraw(amount)?,
        Some(_) => return Err(VaultError::InsufficientYieldBalance),
        None => {
            let kept = kept.checked_sub(amount).ok_or(VaultError::InvariantViolation)?;
            vault.set_yield_kept(kept)?;
        }
    }
    if balances.yield_deposited == 0 {
        vault.set_active_yield_program(Pubkey([0; 32]))?;
    }
    movement.write(balances)?;
    YieldWithdrawEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        program,
        amount,
        new_yield_balance: balances.yield_deposited,
        new_available_balance: balances.available,
    }
    .emit();
    record(&vault, transaction_type::YIELD_WITHDRAW, amount)
}

/// Adds accrued yield to the deposited yield. The yield program proves it: it pays what it owes
/// into the vault's token account and takes the same amount again. Without a call, only the yield
/// that the vault's balances have accrued counts.
#[inline(never)]
#[expect(clippy::single_match_else, reason = "`if let` would change the shipped bytes")]
pub fn compound(context: &Context, arguments: &mut Reader) -> Result {
    let movement = read(context, arguments, false)?;
    let Movement { vault, program, amount, .. } = movement;
    match &movement.call {
        Some(call) => {
            movement.choose_program()?;
            call.claim(amount)?;
            call.deposit(amount)?;
        }
        None => {
            let accrued = vault.yield_accrued()?.checked_sub(amount);
            vault.set_yield_accrued(accrued.ok_or(VaultError::InsufficientYieldBalance)?)?;
        }
    }
    let mut balances = vault.balances()?;
    balances.compound(amount)?;
    let last_compounded_at = Clock::get()?.unix_timestamp;
    vault.set_last_compounded_at(last_compounded_at)?;
    movement.write(balances)?;
    YieldCompoundEvent {
        vault: *vault.key(),
        owner: vault.owner()?,
        program,
        compounded_amount: amount,
        new_yield_balance: balances.yield_deposited,
        last_compounded_at,
    }
    .emit();
    record(&vault, transaction_type::YIELD_COMPOUND, amount)
}

#[inline(always)]
fn read<'a>(
    context: &Context<'a>,
    arguments: &mut Reader,
    comes_back: bool,
) -> Result<Movement<'a>> {
    let amount = arguments.u64()?;
    arguments.end()?;
    let (&[authority, owner, vault_account, vault_authority, yield_program], remaining) =
        accounts::take(context)?;
    accounts::signer(authority)?;
    accounts::writable([authority, vault_account])?;
    let vault = accounts::vault(context, vault_account, owner)?;
    let vault_authority = accounts::vault_authority(context, vault_authority)?;
    if amount == 0 {
        return Err(VaultError::InvalidAmount);
    }
    let (given, signers) = yield_call::split(remaining);
    authorize(&vault, authority, signers)?;
    let program = *yield_program.key();
    let whitelist = vault_authority.yield_whitelist()?;
    let allowed = whitelist.contains(&program)?
        || (comes_back && vault.active_yield_program()? == program);
    if !allowed {
        return Err(VaultError::YieldProgramNotWhitelisted);
    }
    let barred = (!comes_back).then_some(whitelist);
    let call = match given {
        [] => None,
        _ => Some(YieldCall::new(yield_program, barred, given, vault, vault_account)?),
    };
    let by_delegate = vault.multisig_threshold()? == 0 && authority.key() != owner.key();
    Ok(Movement { vault, program, amount, by_delegate, call })
}

impl Movement<'_> {
    /// Makes the program the active one if the vault has lent nothing. While it has, no other program
    /// receives tokens: what two hold, the list would have to keep, since only the active one gives
    /// back without it.
    ///
    /// A delegate moves tokens only into the active program. The owner chooses who borrows, or
    /// governance could list a thief for a delegate to lend to.
    #[inline(always)]
    fn choose_program(&self) -> Result {
        let Self { vault, program, .. } = *self;
        if vault.active_yield_program()? == program {
            return Ok(());
        }
        if self.by_delegate {
            return Err(VaultError::Unauthorized);
        }
        if vault.balances()?.yield_deposited == vault.yield_kept()? {
            return vault.set_active_yield_program(program);
        }
        if self.call.is_some() { Err(VaultError::AnotherYieldProgramHolds) } else { Ok(()) }
    }

    #[inline(always)]
    fn write(&self, balances: Balances) -> Result {
        self.vault.set_balances(balances)?;
        match &self.call {
            Some(call) => call.check(),
            None => self.vault.check_books(),
        }
    }
}
