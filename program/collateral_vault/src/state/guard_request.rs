//! The account of a requested change of an owner's guards.

use sdk::discriminator::discriminator;
use sdk::{Account, AnchorError, Pubkey, Result};

use super::vault::SIGNERS;

const DISCRIMINATOR: [u8; 8] = discriminator("account", "GuardChangeRequest");
const VAULT: usize = 8;
const OWNER: usize = 40;
const REQUESTED_AT: usize = 72;
const EXECUTABLE_AT: usize = 80;
const BUMP: usize = 88;
const CHANGE: usize = 89;

/// The longest change in Borsh: a variant, a full vector of signers, and a threshold.
pub const GUARD_CHANGE_LENGTH: usize = 1 + (4 + 32 * SIGNERS) + 1;

/// A request. The account ends with the change, in Borsh.
pub struct GuardRequest<'a> {
    pub vault: Pubkey,
    pub owner: Pubkey,
    pub requested_at: i64,
    pub executable_at: i64,
    pub bump: u8,
    pub change: &'a [u8],
}

impl<'a> GuardRequest<'a> {
    /// Reads the account; the change is copied into `buffer`.
    #[inline(always)]
    pub fn read(account: Account, buffer: &'a mut [u8; GUARD_CHANGE_LENGTH]) -> Result<Self> {
        let data = account.data();
        if data.len() < 8 || data.get(0)? != DISCRIMINATOR {
            return Err(AnchorError::AccountDiscriminatorMismatch);
        }
        let change = data
            .len()
            .checked_sub(CHANGE)
            .and_then(|length| buffer.get_mut(..length))
            .ok_or(AnchorError::AccountDidNotDeserialize)?;
        data.copy_to(CHANGE, change)?;
        Ok(GuardRequest {
            vault: data.key(VAULT)?,
            owner: data.key(OWNER)?,
            requested_at: data.i64(REQUESTED_AT)?,
            executable_at: data.i64(EXECUTABLE_AT)?,
            bump: data.u8(BUMP)?,
            change,
        })
    }

    /// The length of the account.
    #[inline(always)]
    pub fn length(&self) -> u64 {
        (CHANGE + self.change.len()) as u64
    }

    /// Writes a zeroed account of this length.
    #[inline(always)]
    pub fn write(&self, account: Account) -> Result {
        let data = account.data();
        data.put(0, DISCRIMINATOR)?;
        data.put(VAULT, self.vault.0)?;
        data.put(OWNER, self.owner.0)?;
        data.put(REQUESTED_AT, self.requested_at.to_le_bytes())?;
        data.put(EXECUTABLE_AT, self.executable_at.to_le_bytes())?;
        data.put(BUMP, [self.bump])?;
        data.copy_from(CHANGE, self.change)
    }
}
