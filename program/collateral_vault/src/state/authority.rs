//! The authority account: governance and its lists.

use sdk::discriminator::discriminator;
use sdk::{Account, AnchorError, Bytes, Pubkey, Result};

use super::list::List;

const DISCRIMINATOR: [u8; 8] = discriminator("account", "VaultAuthority");
const GOVERNANCE: usize = 8;
const AUTHORIZED_PROGRAMS: usize = 40;
const PROGRAMS: usize = 64;
/// After the authorized programs: the bump, and then
const FREEZE: usize = 1;
const CPI_ENFORCED: usize = 2;
const YIELD_WHITELIST: usize = 3;
/// After the yield programs: the risk level, and then
const PENDING_GOVERNANCE: usize = 1;
const WITHDRAWALS_PAUSED_UNTIL: usize = 33;
const PAUSE_ALLOWED_AT: usize = 41;
const TRANSFERS_LIMITED: usize = 49;

#[derive(Clone, Copy)]
pub struct VaultAuthority<'a>(Bytes<'a>);

impl<'a> VaultAuthority<'a> {
    /// Every list full: discriminator, governance, two lists, four single bytes, reserve.
    pub const LENGTH: usize = 8 + 32 + 2 * (4 + 32 * PROGRAMS) + 4 + 64;

    #[inline(always)]
    pub fn read(account: Account<'a>) -> Result<Self> {
        let data = account.data();
        if data.len() < 8 || data.get(0)? != DISCRIMINATOR {
            return Err(AnchorError::AccountDiscriminatorMismatch);
        }
        Ok(VaultAuthority(data.first(Self::LENGTH)?))
    }

    /// Initializes a zeroed account as a new authority with empty lists and nothing enforced.
    #[inline(always)]
    pub fn create(account: Account<'a>, governance: &Pubkey) -> Result<Self> {
        let data = account.data().first(Self::LENGTH)?;
        data.put(0, DISCRIMINATOR)?;
        data.put(GOVERNANCE, governance.0)?;
        Ok(VaultAuthority(data))
    }

    #[inline(always)]
    pub fn governance(self) -> Result<Pubkey> {
        self.0.key(GOVERNANCE)
    }

    #[inline(always)]
    pub fn authorized_programs(self) -> List<'a> {
        List { data: self.0, at: AUTHORIZED_PROGRAMS, stride: 32, capacity: PROGRAMS }
    }

    #[inline(always)]
    pub fn bump(self) -> Result<u8> {
        self.0.u8(self.authorized_programs().end()?)
    }

    #[inline(always)]
    pub fn set_bump(self, bump: u8) -> Result {
        self.0.put(self.authorized_programs().end()?, [bump])
    }

    #[inline(always)]
    pub fn freeze(self) -> Result<bool> {
        Ok(self.0.u8(self.authorized_programs().end()? + FREEZE)? != 0)
    }

    #[inline(always)]
    pub fn set_freeze(self, freeze: bool) -> Result {
        self.0.put(self.authorized_programs().end()? + FREEZE, [u8::from(freeze)])
    }

    #[inline(always)]
    pub fn cpi_enforced(self) -> Result<bool> {
        Ok(self.0.u8(self.authorized_programs().end()? + CPI_ENFORCED)? != 0)
    }

    #[inline(always)]
    pub fn set_cpi_enforced(self, enforced: bool) -> Result {
        self.0.put(self.authorized_programs().end()? + CPI_ENFORCED, [u8::from(enforced)])
    }

    #[inline(always)]
    pub fn yield_whitelist(self) -> Result<List<'a>> {
        let at = self.authorized_programs().end()? + YIELD_WHITELIST;
        Ok(List { data: self.0, at, stride: 32, capacity: PROGRAMS })
    }

    #[inline(always)]
    pub fn set_risk_level(self, level: u8) -> Result {
        self.0.put(self.yield_whitelist()?.end()?, [level])
    }

    /// The key that may accept governance, or zeros.
    #[inline(always)]
    pub fn pending_governance(self) -> Result<Pubkey> {
        self.0.key(self.yield_whitelist()?.end()? + PENDING_GOVERNANCE)
    }

    #[inline(always)]
    pub fn set_pending_governance(self, key: &Pubkey) -> Result {
        self.0.put(self.yield_whitelist()?.end()? + PENDING_GOVERNANCE, key.0)
    }

    #[inline(always)]
    pub fn set_governance(self, key: &Pubkey) -> Result {
        self.0.put(GOVERNANCE, key.0)
    }

    #[inline(always)]
    pub fn withdrawals_paused_until(self) -> Result<i64> {
        self.0.i64(self.yield_whitelist()?.end()? + WITHDRAWALS_PAUSED_UNTIL)
    }

    #[inline(always)]
    pub fn set_withdrawals_paused_until(self, time: i64) -> Result {
        self.0.put(self.yield_whitelist()?.end()? + WITHDRAWALS_PAUSED_UNTIL, time.to_le_bytes())
    }

    #[inline(always)]
    pub fn pause_allowed_at(self) -> Result<i64> {
        self.0.i64(self.yield_whitelist()?.end()? + PAUSE_ALLOWED_AT)
    }

    #[inline(always)]
    pub fn set_pause_allowed_at(self, time: i64) -> Result {
        self.0.put(self.yield_whitelist()?.end()? + PAUSE_ALLOWED_AT, time.to_le_bytes())
    }

    /// True once governance has set transfer limits: then each transfer needs their account.
    #[inline(always)]
    pub fn transfers_limited(self) -> Result<bool> {
        Ok(self.0.u8(self.yield_whitelist()?.end()? + TRANSFERS_LIMITED)? != 0)
    }

    #[inline(always)]
    pub fn set_transfers_limited(self) -> Result {
        self.0.put(self.yield_whitelist()?.end()? + TRANSFERS_LIMITED, [1])
    }
}
