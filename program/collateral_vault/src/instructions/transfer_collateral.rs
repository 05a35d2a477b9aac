use sdk::sysvar::Instructions;
use sdk::{AnchorError, Context, Reader, Result, token};

use crate::accounts::{self, VAULT};
use crate::errors::VaultError;
use crate::events::{CollateralTransferredEvent, TransferEvent, record, transaction_type};
use crate::{caller, transfers};

/// Transfers collateral, balances and tokens, from one vault to another of the same mint: first what
/// is locked, and of what is available no more than the owner agreed to.
///
/// Remaining accounts, with transfer limits: their account, writable.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let amount = arguments.u64()?;
    arguments.end()?;
    let (
        &[
            caller_program,
            vault_authority,
            instructions,
            from_account,
            to_account,
            from_tokens_account,
            to_tokens_account,
            token_program,
        ],
        remaining,
    ) = accounts::take(context)?;
    accounts::writable([from_account, to_account, from_tokens_account, to_tokens_account])?;
    accounts::program(token_program, &token::ID)?;
    let authority = accounts::vault_authority(context, vault_authority)?;
    let instructions = Instructions::read(instructions)?;
    let from = accounts::any_vault(context, from_account)?;
    let to = accounts::any_vault(context, to_account)?;
    if from.key() == to.key() {
        return Err(VaultError::ConstraintDuplicateMutableAccount);
    }
    if from.usdt_mint()? != to.usdt_mint()? {
        return Err(AnchorError::ConstraintTokenMint);
    }
    let from_tokens = accounts::vault_token_account(&from, from_tokens_account)?;
    let to_tokens = accounts::vault_token_account(&to, to_tokens_account)?;
    if amount == 0 {
        return Err(VaultError::InvalidAmount);
    }
    let caller =
        caller::require_authorized(context, &authority, caller_program, &instructions, remaining)?;
    if authority.freeze()? {
        return Err(VaultError::Frozen);
    }

    let (mut from_balances, mut to_balances) = (from.balances()?, to.balances()?);
    let from_locked = from_balances.transfer_locked_first(amount)?;
    transfers::consume_allowance(&from, amount - from_locked)?;
    transfers::consume_limits(context, remaining, &authority, &from, amount)?;
    to_balances.transfer_in(amount)?;
    from.set_balances(from_balances)?;
    to.set_balances(to_balances)?;
    let owner = from.owner()?;
    let seeds = [VAULT, owner.as_bytes(), &[from.bump()?]];
    token::transfer(from_tokens_account, to_tokens_account, from_account, amount, &seeds);
    from.check(from_tokens)?;
    to.check(to_tokens)?;

    TransferEvent {
        from_vault: *from.key(),
        to_vault: *to.key(),
        amount,
        from_new_total_balance: from_balances.total,
        to_new_total_balance: to_balances.total,
    }
    .emit();
    record(&from, transaction_type::TRANSFER, amount)?;
    CollateralTransferredEvent {
        from_vault: *from.key(),
        to_vault: *to.key(),
        caller,
        amount,
        from_locked,
        from_new_locked_balance: from_balances.locked,
        from_new_available_balance: from_balances.available,
        to_new_available_balance: to_balances.available,
    }
    .emit();
    Ok(())
}
