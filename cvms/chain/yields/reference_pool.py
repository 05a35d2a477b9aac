"""The reference yield program: the rate of a pool, which its admin sets.

The rate does not consider whether the reserve holds the interest, which another account says.
"""

from __future__ import annotations

from fractions import Fraction

from cvms.chain.program.accounts import decode_account
from cvms.chain.program.yield_pool_accounts import (
    BASIS_POINTS,
    POOL_DISCRIMINATOR,
    YieldPoolAccount,
)
from cvms.chain.types import Slot
from cvms.chain.yields.rates import AtTime, Convention, RateRefused, Reason, Terms

LENGTH = 165
MARKER = POOL_DISCRIMINATOR
MAX_RATE_BPS = 10_000  # the program accepts none above
CONVENTION = Convention(
    word="simple",
    sentence="Simple interest for years of 365 days; it bears none until deposited again.",
    periods=1,
)


def terms(data: bytes, _slot: Slot) -> Terms:
    """Return the terms of the pool. Raises RateRefused when its rate or time is impossible."""
    pool = decode_account(YieldPoolAccount, POOL_DISCRIMINATOR, data)
    if pool.rate_bps > MAX_RATE_BPS:
        raise RateRefused(Reason.MALFORMED, f"the rate is {pool.rate_bps} basis points")
    if pool.last_accrued_at < 0:
        raise RateRefused(Reason.MALFORMED, f"last accrued at {pool.last_accrued_at}")
    return Terms(
        mint=pool.mint,
        supply_apr=Fraction(pool.rate_bps, BASIS_POINTS),
        borrow_apr=None,
        utilization=None,
        supplied=Fraction(pool.total_principal),
        borrowed=None,
        as_of=AtTime(pool.last_accrued_at),
        convention=CONVENTION,
    )
