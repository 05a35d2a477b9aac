//! The vault account.
//!
//! Fields up to `multisig_threshold` have fixed positions. After them come five vectors with single
//! fields between, whose positions follow from the vectors' lengths.

use sdk::discriminator::discriminator;
use sdk::token::TokenAccount;
use sdk::{Account, AnchorError, Bytes, Pubkey, Result};

use super::balances::{Balances, add};
use super::entries::{PendingWithdrawal, Timelock};
use super::list::List;
use crate::errors::VaultError;

const DISCRIMINATOR: [u8; 8] = discriminator("account", "CollateralVault");
const OWNER: usize = 8;
const TOKEN_ACCOUNT: usize = 40;
const USDT_MINT: usize = 72;
const BALANCES: usize = 104;
const YIELD_ACCRUED: usize = 152;
const LAST_COMPOUNDED_AT: usize = 160;
const ACTIVE_YIELD_PROGRAM: usize = 168;
const CREATED_AT: usize = 200;
const BUMP: usize = 208;
const MULTISIG_THRESHOLD: usize = 209;
const MULTISIG_SIGNERS: usize = 210;

pub const SIGNERS: usize = 10;
const DELEGATES: usize = 16;
const TIMELOCKS: usize = 64;
const PENDING: usize = 64;
const WHITELIST: usize = 32;

const KEY: usize = 32;
const RATE_LIMIT: usize = 28;
const RESERVED: usize = 64;
/// In the reserve:
const YIELD_KEPT: usize = 0;
const TRANSFER_ALLOWANCE: usize = 8;
const TRANSFERRED_IN_WINDOW: usize = 16;
const TRANSFER_WINDOW_START: usize = 24;
const REQUESTED_TOTAL: usize = 32;
const EXIT_AT: usize = 40;
const DELEGATE_TIMELOCKS: usize = 48;

#[derive(Clone, Copy)]
pub struct Vault<'a> {
    key: &'a Pubkey,
    data: Bytes<'a>,
}

#[derive(Clone, Copy)]
pub struct RateLimit {
    pub window_seconds: u32,
    pub limit: u64,
    pub window_start: i64,
    pub withdrawn: u64,
}

impl RateLimit {
    /// True if the window and the amount are both set.
    #[inline(always)]
    pub fn limits(self) -> bool {
        self.window_seconds != 0 && self.limit != 0
    }
}

/// The values of a new vault.
pub struct NewVault<'a> {
    pub owner: &'a Pubkey,
    pub token_account: &'a Pubkey,
    pub usdt_mint: &'a Pubkey,
    pub bump: u8,
    pub created_at: i64,
}

impl<'a> Vault<'a> {
    /// Every vector full.
    pub const LENGTH: usize = MULTISIG_SIGNERS
        + (4 + KEY * SIGNERS)
        + (4 + KEY * DELEGATES)
        + (4 + Timelock::LENGTH * TIMELOCKS)
        + 8
        + (4 + PendingWithdrawal::LENGTH * PENDING)
        + (4 + KEY * WHITELIST)
        + RATE_LIMIT
        + RESERVED;

    #[inline(always)]
    pub fn read(account: Account<'a>) -> Result<Self> {
        let data = account.data();
        if data.len() < 8 || data.get(0)? != DISCRIMINATOR {
            return Err(AnchorError::AccountDiscriminatorMismatch);
        }
        Ok(Vault { key: account.key(), data: data.first(Self::LENGTH)? })
    }

    /// Initializes a zeroed account as a new, empty vault of its owner.
    #[inline(always)]
    pub fn create(account: Account<'a>, new: &NewVault) -> Result<Self> {
        let data = account.data().first(Self::LENGTH)?;
        data.put(0, DISCRIMINATOR)?;
        data.put(OWNER, new.owner.0)?;
        data.put(TOKEN_ACCOUNT, new.token_account.0)?;
        data.put(USDT_MINT, new.usdt_mint.0)?;
        data.put(CREATED_AT, new.created_at.to_le_bytes())?;
        data.put(BUMP, [new.bump])?;
        Ok(Vault { key: account.key(), data })
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
    pub fn token_account(self) -> Result<Pubkey> {
        self.data.key(TOKEN_ACCOUNT)
    }

    #[inline(always)]
    pub fn usdt_mint(self) -> Result<Pubkey> {
        self.data.key(USDT_MINT)
    }

    #[inline(always)]
    pub fn set_mint(self, mint: &Pubkey, token_account: &Pubkey) -> Result {
        self.data.put(USDT_MINT, mint.0)?;
        self.data.put(TOKEN_ACCOUNT, token_account.0)
    }

    #[inline(always)]
    pub fn created_at(self) -> Result<i64> {
        self.data.i64(CREATED_AT)
    }

    #[inline(always)]
    pub fn bump(self) -> Result<u8> {
        self.data.u8(BUMP)
    }

    #[inline(always)]
    pub fn multisig_threshold(self) -> Result<u8> {
        self.data.u8(MULTISIG_THRESHOLD)
    }

    #[inline(always)]
    pub fn set_multisig_threshold(self, threshold: u8) -> Result {
        self.data.put(MULTISIG_THRESHOLD, [threshold])
    }

    #[inline(always)]
    pub fn balances(self) -> Result<Balances> {
        Ok(Balances {
            total: self.data.u64(BALANCES)?,
            locked: self.data.u64(BALANCES + 8)?,
            available: self.data.u64(BALANCES + 16)?,
            total_deposited: self.data.u64(BALANCES + 24)?,
            total_withdrawn: self.data.u64(BALANCES + 32)?,
            yield_deposited: self.data.u64(BALANCES + 40)?,
        })
    }

    #[inline(always)]
    pub fn set_balances(self, balances: Balances) -> Result {
        self.data.put(BALANCES, balances.total.to_le_bytes())?;
        self.data.put(BALANCES + 8, balances.locked.to_le_bytes())?;
        self.data.put(BALANCES + 16, balances.available.to_le_bytes())?;
        self.data.put(BALANCES + 24, balances.total_deposited.to_le_bytes())?;
        self.data.put(BALANCES + 32, balances.total_withdrawn.to_le_bytes())?;
        self.data.put(BALANCES + 40, balances.yield_deposited.to_le_bytes())
    }

    /// Yield that is earned but not yet deposited.
    #[inline(always)]
    pub fn yield_accrued(self) -> Result<u64> {
        self.data.u64(YIELD_ACCRUED)
    }

    #[inline(always)]
    pub fn set_yield_accrued(self, amount: u64) -> Result {
        self.data.put(YIELD_ACCRUED, amount.to_le_bytes())
    }

    #[inline(always)]
    pub fn set_last_compounded_at(self, now: i64) -> Result {
        self.data.put(LAST_COMPOUNDED_AT, now.to_le_bytes())
    }

    #[inline(always)]
    pub fn active_yield_program(self) -> Result<Pubkey> {
        self.data.key(ACTIVE_YIELD_PROGRAM)
    }

    /// The program that last received tokens, or zeros when no program holds any.
    #[inline(always)]
    pub fn set_active_yield_program(self, program: Pubkey) -> Result {
        self.data.put(ACTIVE_YIELD_PROGRAM, program.0)
    }

    #[inline(always)]
    fn list(self, at: usize, stride: usize, capacity: usize) -> List<'a> {
        List { data: self.data, at, stride, capacity }
    }

    #[inline(always)]
    pub fn multisig_signers(self) -> List<'a> {
        self.list(MULTISIG_SIGNERS, KEY, SIGNERS)
    }

    #[inline(always)]
    pub fn delegates(self) -> Result<List<'a>> {
        Ok(self.list(self.multisig_signers().end()?, KEY, DELEGATES))
    }

    #[inline(always)]
    pub fn timelocks(self) -> Result<List<'a>> {
        Ok(self.list(self.delegates()?.end()?, Timelock::LENGTH, TIMELOCKS))
    }

    #[inline(always)]
    pub fn set_min_withdraw_delay_seconds(self, seconds: i64) -> Result {
        self.data.put(self.timelocks()?.end()?, seconds.to_le_bytes())
    }

    #[inline(always)]
    pub fn min_withdraw_delay_seconds(self) -> Result<i64> {
        self.data.i64(self.timelocks()?.end()?)
    }

    #[inline(always)]
    pub fn pending_withdrawals(self) -> Result<List<'a>> {
        let at = self.timelocks()?.end()? + 8;
        Ok(self.list(at, PendingWithdrawal::LENGTH, PENDING))
    }

    #[inline(always)]
    pub fn withdraw_whitelist(self) -> Result<List<'a>> {
        Ok(self.list(self.pending_withdrawals()?.end()?, KEY, WHITELIST))
    }

    #[inline(always)]
    pub fn rate_limit(self) -> Result<RateLimit> {
        let at = self.withdraw_whitelist()?.end()?;
        Ok(RateLimit {
            window_seconds: self.data.u32(at)?,
            limit: self.data.u64(at + 4)?,
            window_start: self.data.i64(at + 12)?,
            withdrawn: self.data.u64(at + 20)?,
        })
    }

    #[inline(always)]
    pub fn set_rate_limit(self, rate: RateLimit) -> Result {
        let at = self.withdraw_whitelist()?.end()?;
        self.data.put(at, rate.window_seconds.to_le_bytes())?;
        self.data.put(at + 4, rate.limit.to_le_bytes())?;
        self.data.put(at + 12, rate.window_start.to_le_bytes())?;
        self.data.put(at + 20, rate.withdrawn.to_le_bytes())
    }

    /// A field of the reserve, which follows the rate limit.
    #[inline(always)]
    fn reserved(self, field: usize) -> Result<usize> {
        Ok(self.withdraw_whitelist()?.end()? + RATE_LIMIT + field)
    }

    /// The part of `yield_deposited` that never left the vault's token account, since no yield
    /// program was called for it. Only this much may be returned without a call.
    #[inline(always)]
    pub fn yield_kept(self) -> Result<u64> {
        self.data.u64(self.reserved(YIELD_KEPT)?)
    }

    #[inline(always)]
    pub fn set_yield_kept(self, amount: u64) -> Result {
        self.data.put(self.reserved(YIELD_KEPT)?, amount.to_le_bytes())
    }

    /// What governance may transfer beyond what is locked; `u64::MAX` is never used up.
    #[inline(always)]
    pub fn transfer_allowance(self) -> Result<u64> {
        self.data.u64(self.reserved(TRANSFER_ALLOWANCE)?)
    }

    #[inline(always)]
    pub fn set_transfer_allowance(self, amount: u64) -> Result {
        self.data.put(self.reserved(TRANSFER_ALLOWANCE)?, amount.to_le_bytes())
    }

    /// What was transferred out since `transfer_window_start`.
    #[inline(always)]
    pub fn transferred_in_window(self) -> Result<u64> {
        self.data.u64(self.reserved(TRANSFERRED_IN_WINDOW)?)
    }

    #[inline(always)]
    pub fn set_transferred_in_window(self, amount: u64) -> Result {
        self.data.put(self.reserved(TRANSFERRED_IN_WINDOW)?, amount.to_le_bytes())
    }

    #[inline(always)]
    pub fn transfer_window_start(self) -> Result<i64> {
        self.data.i64(self.reserved(TRANSFER_WINDOW_START)?)
    }

    #[inline(always)]
    pub fn set_transfer_window_start(self, time: i64) -> Result {
        self.data.put(self.reserved(TRANSFER_WINDOW_START)?, time.to_le_bytes())
    }

    /// The sum of the pending withdrawals, without those that were requested before it was kept.
    #[inline(always)]
    pub fn requested_total(self) -> Result<u64> {
        self.data.u64(self.reserved(REQUESTED_TOTAL)?)
    }

    #[inline(always)]
    pub fn set_requested_total(self, amount: u64) -> Result {
        self.data.put(self.reserved(REQUESTED_TOTAL)?, amount.to_le_bytes())
    }

    /// When a requested exit takes effect, or zero.
    #[inline(always)]
    pub fn exit_at(self) -> Result<i64> {
        self.data.i64(self.reserved(EXIT_AT)?)
    }

    #[inline(always)]
    pub fn set_exit_at(self, time: i64) -> Result {
        self.data.put(self.reserved(EXIT_AT)?, time.to_le_bytes())
    }

    /// A bit for each timelock, in order from the lowest: a delegate scheduled it.
    #[inline(always)]
    pub fn delegate_timelocks(self) -> Result<u64> {
        self.data.u64(self.reserved(DELEGATE_TIMELOCKS)?)
    }

    #[inline(always)]
    pub fn set_delegate_timelocks(self, bits: u64) -> Result {
        self.data.put(self.reserved(DELEGATE_TIMELOCKS)?, bits.to_le_bytes())
    }

    /// The invariant: every unit of the total is in exactly one place.
    #[inline(always)]
    pub fn check_books(self) -> Result {
        let balances = self.balances()?;
        let mut sum = add(balances.available, balances.locked)?;
        sum = add(sum, balances.yield_deposited)?;
        let timelocks = self.timelocks()?;
        for timelock in self.data.chunks::<{ Timelock::LENGTH }>(timelocks.entry(0)?, timelocks.len()?)? {
            sum = add(sum, timelock.u64(0)?)?;
        }
        if sum == balances.total { Ok(()) } else { Err(VaultError::InvariantViolation) }
    }

    /// The invariant, and that the vault's tokens cover all that is not in yield.
    #[inline(always)]
    pub fn check(self, tokens: TokenAccount) -> Result {
        self.check_books()?;
        let balances = self.balances()?;
        let beside_yield = balances.total.saturating_sub(balances.yield_deposited);
        if tokens.amount()? >= beside_yield { Ok(()) } else { Err(VaultError::InvariantViolation) }
    }
}
