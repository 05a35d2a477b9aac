//! An owner's guards against a stolen key, which are a multisig and a minimum delay, and the changes
//! that they hold up.
//!
//! A change that tightens is made at once. One that loosens waits, or has the multisig's signatures:
//! otherwise whoever has the owner's key would remove the guards before anything else.

use sdk::sysvar::Clock;
use sdk::{Account, AnchorError, Pubkey, Reader, Result};

use crate::authorization;
use crate::errors::VaultError;
use crate::events::{
    MultisigSetEvent, TransferAllowanceSetEvent, WithdrawMinDelaySetEvent,
    WithdrawRateLimitSetEvent, WithdrawWhitelistUpdatedEvent,
};
use crate::state::{RateLimit, SIGNERS, Vault};

const DAY: i64 = 24 * 60 * 60;
/// What a multisig adds to the wait: the time in which one of its signers can cancel.
const MULTISIG_WAIT: i64 = 7 * DAY;
/// The longest wait, so that no delay, however long, is for ever.
const LONGEST_WAIT: i64 = 365 * DAY;
/// How long a requested change may be made once it is executable.
pub const EXECUTABLE_FOR: i64 = 7 * DAY;

/// A change of what guards a vault, in the order of the interface.
#[derive(Clone, Copy)]
pub enum GuardChange<'a> {
    Multisig { signers: &'a [[u8; 32]], threshold: u8 },
    WithdrawMinDelay { seconds: i64 },
    WithdrawRateLimit { window_seconds: u32, max_amount: u64 },
    WhitelistAddition { address: Pubkey },
    TransferAllowance { amount: u64 },
}

/// How long a loosening change waits after its request; zero without a guard in force.
#[inline(always)]
pub fn wait(vault: &Vault) -> Result<i64> {
    let delay = vault.min_withdraw_delay_seconds()?.clamp(0, LONGEST_WAIT);
    Ok(if vault.multisig_threshold()? == 0 { delay } else { delay.max(MULTISIG_WAIT) })
}

/// Makes a change that the owner has signed, unless it loosens and a guard is in force. Enough of
/// the multisig's signers may have signed too: the owner, who may be one of them, and `others`.
#[inline(always)]
pub fn change(vault: &Vault, owner: Account, others: &[Account], change: &GuardChange) -> Result {
    change.validate()?;
    if change.loosens(vault)? {
        let threshold = vault.multisig_threshold()?;
        let allowed = if threshold == 0 {
            wait(vault)? == 0
        } else {
            authorization::enough_sign(vault, threshold, owner, others)?
        };
        if !allowed {
            return Err(VaultError::GuardInForce);
        }
    }
    change.apply(vault)
}

impl<'a> GuardChange<'a> {
    /// Reads a change that must make sense in itself.
    #[inline(always)]
    pub fn read(bytes: &mut Reader<'a>) -> Result<Self> {
        let change = match bytes.u8()? {
            0 => GuardChange::Multisig { signers: bytes.keys()?, threshold: bytes.u8()? },
            1 => GuardChange::WithdrawMinDelay { seconds: bytes.i64()? },
            2 => GuardChange::WithdrawRateLimit {
                window_seconds: bytes.u32()?,
                max_amount: bytes.u64()?,
            },
            3 => GuardChange::WhitelistAddition { address: bytes.key()? },
            4 => GuardChange::TransferAllowance { amount: bytes.u64()? },
            _ => return Err(AnchorError::InstructionDidNotDeserialize),
        };
        bytes.end()?;
        change.validate()?;
        if let GuardChange::Multisig { signers, .. } = change {
            require_distinct(signers)?;
        }
        Ok(change)
    }

    /// Checks the values. That signers are distinct and not too many shows when they are written.
    #[inline(always)]
    fn validate(&self) -> Result {
        let valid = match *self {
            GuardChange::Multisig { signers, threshold } => {
                usize::from(threshold) <= signers.len()
            }
            GuardChange::WithdrawMinDelay { seconds } => seconds >= 0,
            _ => true,
        };
        if valid { Ok(()) } else { Err(VaultError::InvalidAmount) }
    }

    /// True if a thief could gain by the change, given that a guard is in force.
    #[inline(always)]
    fn loosens(&self, vault: &Vault) -> Result<bool> {
        Ok(match *self {
            GuardChange::Multisig { threshold, .. } => {
                // A thief's own multisig would get around the delay.
                vault.multisig_threshold()? != 0 || threshold != 0
            }
            GuardChange::WithdrawMinDelay { seconds } => {
                seconds < vault.min_withdraw_delay_seconds()?
            }
            GuardChange::WithdrawRateLimit { window_seconds, max_amount } => {
                let old = vault.rate_limit()?;
                old.limits()
                    && (max_amount == 0
                        || max_amount > old.limit
                        || window_seconds < old.window_seconds)
            }
            GuardChange::WhitelistAddition { .. } => true,
            GuardChange::TransferAllowance { amount } => amount > vault.transfer_allowance()?,
        })
    }

    /// Makes the change and emits its event.
    #[inline(always)]
    pub fn apply(&self, vault: &Vault) -> Result {
        self.write(vault)?;
        check_books(vault)?;
        self.emit(vault)
    }

    #[inline(always)]
    fn write(&self, vault: &Vault) -> Result {
        match *self {
            GuardChange::Multisig { signers, threshold } => {
                let list = vault.multisig_signers();
                list.clear()?;
                for signer in signers {
                    list.insert(&Pubkey(*signer))?;
                }
                vault.set_multisig_threshold(threshold)
            }
            GuardChange::WithdrawMinDelay { seconds } => {
                vault.set_min_withdraw_delay_seconds(seconds)
            }
            GuardChange::WithdrawRateLimit { window_seconds, max_amount } => {
                let old = vault.rate_limit()?;
                // A new window forgets what has left in the old one, which would loosen.
                let keep = old.limits() && !self.loosens(vault)? && wait(vault)? != 0;
                let (window_start, withdrawn) = if keep {
                    (old.window_start, old.withdrawn)
                } else {
                    (Clock::get()?.unix_timestamp, 0)
                };
                let limit = max_amount;
                vault.set_rate_limit(RateLimit { window_seconds, limit, window_start, withdrawn })
            }
            GuardChange::WhitelistAddition { address } => {
                vault.withdraw_whitelist()?.insert(&address)
            }
            GuardChange::TransferAllowance { amount } => vault.set_transfer_allowance(amount),
        }
    }

    #[inline(always)]
    fn emit(&self, of: &Vault) -> Result {
        let (vault, owner) = (*of.key(), of.owner()?);
        match *self {
            GuardChange::Multisig { signers, threshold } => {
                let signers = sdk::log::Keys::<SIGNERS>(signers);
                MultisigSetEvent { vault, owner, threshold, signers }.emit();
            }
            GuardChange::WithdrawMinDelay { seconds } => {
                WithdrawMinDelaySetEvent { vault, owner, seconds }.emit();
            }
            GuardChange::WithdrawRateLimit { window_seconds, max_amount } => {
                WithdrawRateLimitSetEvent { vault, owner, window_seconds, max_amount }.emit();
            }
            GuardChange::WhitelistAddition { address } => {
                let (added, new_len) = (true, of.withdraw_whitelist()?.count()?);
                WithdrawWhitelistUpdatedEvent { vault, owner, address, added, new_len }.emit();
            }
            GuardChange::TransferAllowance { amount } => {
                TransferAllowanceSetEvent { vault, owner, amount }.emit();
            }
        }
        Ok(())
    }
}

/// The invariant, once in the binary for all changes.
#[inline(never)]
fn check_books(vault: &Vault) -> Result {
    vault.check_books()
}

fn require_distinct(signers: &[[u8; 32]]) -> Result {
    if signers.len() > SIGNERS {
        return Err(VaultError::Overflow);
    }
    for (index, signer) in signers.iter().enumerate() {
        if signers[..index].contains(signer) {
            return Err(VaultError::AlreadyExists);
        }
    }
    Ok(())
}
