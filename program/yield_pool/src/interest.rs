//! The interest convention.
//!
//! `rate_bps` is a simple annual rate in basis points of the principal, for years of 365 days:
//!
//!   `interest = Σ principal · rate_bps · seconds ÷ (10 000 · 31 536 000)`
//!
//! Interest bears no interest until its owner claims it and deposits it. Nothing is divided before
//! a claim, so nothing is rounded before it, and how often a position is touched does not matter:
//!
//! - The pool's index is Σ `rate_bps` · seconds, a `u64`: at the highest rate it lasts 58 million
//!   years, and then stands still rather than hold the principal back.
//! - A position's accrued interest is Σ principal · (growth of the index), a `u128`, in units of
//!   1 ÷ `PER_TOKEN_UNIT` of the mint's smallest unit. It fits for any principal and any time, since
//!   the sum is at most the largest principal times the largest index, (2⁶⁴ − 1)².
//! - A claim of `amount` takes `amount · PER_TOKEN_UNIT` from it. What is less than a whole unit
//!   stays, in the reserve and in the position: it counts once later interest fills the unit.
//!
//! A clock that goes backwards accrues nothing, and accrues nothing twice when it goes forward
//! again.

const BASIS_POINTS: u64 = 10_000;
const SECONDS_PER_YEAR: u64 = 365 * 24 * 60 * 60;
const PER_TOKEN_UNIT: u64 = BASIS_POINTS * SECONDS_PER_YEAR;

/// The highest rate, in basis points: interest equal to the principal in a year.
pub const MAX_RATE_BPS: u32 = 10_000;

/// The growth of the index at a rate from one time to another, in Unix seconds.
#[inline(always)]
pub fn growth(rate_bps: u32, since: i64, now: i64) -> u64 {
    const LONGEST: u64 = u64::MAX / MAX_RATE_BPS as u64;
    let seconds = if now <= since { 0 } else { now.abs_diff(since).min(LONGEST) };
    // Wrapping, since a checked multiplication is a wide one; the rate is MAX_RATE_BPS at most.
    seconds.wrapping_mul(u64::from(rate_bps))
}

/// The interest that a principal accrues while the index grows.
#[inline(always)]
pub fn accrual(principal: u64, growth: u64) -> u128 {
    multiply(principal, growth)
}

/// The accrued interest that a claim of `amount`, in the mint's smallest unit, uses up.
#[inline(always)]
pub fn price(amount: u64) -> u128 {
    multiply(amount, PER_TOKEN_UNIT)
}

/// The full product. The target has no wide multiplication: this is four narrow ones of halves.
#[inline(always)]
const fn multiply(one: u64, other: u64) -> u128 {
    const LOW: u64 = 0xffff_ffff;
    let (a, b) = (one >> 32, one & LOW);
    let (c, d) = (other >> 32, other & LOW);
    // No sum overflows: (2³² − 1)² + 2 (2³² − 1) is 2⁶⁴ − 1.
    let low = b * d;
    let left = a * d + (low >> 32);
    let right = b * c + (left & LOW);
    let high = a * c + (left >> 32) + (right >> 32);
    ((high as u128) << 64) | ((right << 32) | (low & LOW)) as u128
}

const _: () = {
    let samples = [0, 1, 2, 0xffff_ffff, 1 << 32, PER_TOKEN_UNIT, 0xdead_beef_0bad_cafe, u64::MAX];
    let mut index = 0;
    while index < samples.len() * samples.len() {
        let (one, other) = (samples[index % samples.len()], samples[index / samples.len()]);
        assert!(multiply(one, other) == one as u128 * other as u128); // the compiler has one
        index += 1;
    }
};
