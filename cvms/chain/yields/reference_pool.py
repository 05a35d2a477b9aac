"""The reference yield program: the rate of a pool, which its admin sets.

Whether the reserve holds the interest is not in the pool's account, and so not in its rate.
"""

from __future__ import annotations

from fractions import Fraction

from cvms.chain.program.accounts import decode_account
from cvms.chain.program.yield_pool_accounts import BASIS_POINTS, POOL_DISCRIMINATOR, Pool
from cvms.chain.types import Slot
from cvms.chain.yields.rates import AtTime, Convention, Reason, Refused, Terms

LENGTH = 165
MARKER = POOL_DISCRIMINATOR
HIGHEST_RATE_BPS = 10_000  # the program sets none above
CONVENTION = Convention(
    word="simple",
    sentence="Simple interest for years of 365 days; it bears none until deposited again.",
    periods=1,
)


def terms(data: bytes, _slot: Slot) -> Terms:
    """What the pool pays. Raises Refused when its rate or time is none the program can write."""
    pool = decode_account(Pool, POOL_DISCRIMINATOR, data)
    if pool.rate_bps > HIGHEST_RATE_BPS:
        raise Refused(Reason.MALFORMED, f"the rate is {pool.rate_bps} basis points")
    if pool.last_accrued_at < 0:
        raise Refused(Reason.MALFORMED, f"last accrued at {pool.last_accrued_at}")
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
