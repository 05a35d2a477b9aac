use sdk::{AnchorError, Context, Pubkey, Reader, Result, pda, system};

use crate::accounts::{self, VAULT_AUTHORITY};
use crate::errors::VaultError;
use crate::events::VaultAuthorityInitializedEvent;
use crate::instructions::authorized_programs::require_possible;
use crate::state::VaultAuthority;
use crate::upgrade_authority;

/// Creates the only authority account. The program's upgrade authority signs and becomes governance,
/// so that nobody can be faster than who deployed the program.
///
/// Remaining accounts: the program-data account.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    let programs = arguments.keys()?;
    let freeze = arguments.optional_bool()?.unwrap_or(false);
    arguments.end()?;
    let (&[governance, account, system_program], remaining) = accounts::take(context)?;
    accounts::signer(governance)?;
    accounts::writable([governance, account])?;
    accounts::program(system_program, &system::ID)?;
    let (address, bump) = pda::find([VAULT_AUTHORITY], context.program_id)?;
    if address != *account.key() {
        return Err(AnchorError::ConstraintSeeds);
    }
    if account.owned_by(context.program_id) {
        return Err(VaultError::AlreadyInitialized);
    }
    upgrade_authority::require(context, governance, remaining)?;

    let length = VaultAuthority::LENGTH as u64;
    let seeds = [VAULT_AUTHORITY, &[bump]];
    system::create_pda(governance, account, length, context.program_id, &seeds)?;
    let authority = VaultAuthority::create(account, governance.key())?;
    for program in programs {
        let program = Pubkey(*program);
        require_possible(context, &program)?;
        authority.authorized_programs().insert(&program)?;
    }
    authority.set_bump(bump)?;
    authority.set_freeze(freeze)?;
    VaultAuthorityInitializedEvent {
        governance: *governance.key(),
        #[expect(clippy::cast_possible_truncation, reason = "the list took them: 64 at most")]
        authorized_programs_len: programs.len() as u32,
        freeze,
    }
    .emit();
    Ok(())
}
