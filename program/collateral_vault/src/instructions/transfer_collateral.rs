use sdk::sysvar::Instructions;
use sdk::{AnchorError, Context, Reader, Result, token};

use crate::accounts::{self, VAULT};
use crate::caller;
use crate::errors::VaultError;
use crate::events::{TransferEvent, record, transaction_type};

/// Transfers available collateral, balances and tokens, from one vault to another of the same mint.
///
/// The freeze flag stops only locks and unlocks.
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
    caller::require_authorized(context, &authority, caller_program, &instructions, remaining)?;

    let (mut from_balances, mut to_balances) = (from.balances()?, to.balances()?);
    from_balances.transfer_out(amount)?;
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
    record(&from, transaction_type::TRANSFER, amount)
}
