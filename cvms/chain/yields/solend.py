"""Solend, now Save: the supply rate of a Reserve.

Layout and arithmetic follow solendprotocol/solana-program-library:
token-lending/sdk/src/state/{reserve,last_update,mod}.rs; the APY is that of solendprotocol/public:
solend-sdk/src/core/utils/rates.ts. docs/yield.md has the formulas.
"""

from __future__ import annotations

from fractions import Fraction

from solders.pubkey import Pubkey

from cvms.chain.types import Slot
from cvms.chain.yields.account_layout import pubkey, unsigned, wads
from cvms.chain.yields.interest_curve import Point, rate_at
from cvms.chain.yields.rates import AtSlot, Convention, RateRefused, Reason, Terms

PROGRAM = Pubkey.from_string("So1endDq2YkqhipRh3WViPa8hdiSpxWy6z3Z6tMCpAo")
LENGTH = 619
MARKER = b"\x01"  # the version, in the place of a discriminator
SLOTS_PER_YEAR = 63_072_000
CONVENTION = Convention(
    word="per_slot",
    sentence=f"Compounded at every slot, {SLOTS_PER_YEAR:,} times a year: slots of 0.5 s.",
    periods=SLOTS_PER_YEAR,
)

_LAST_UPDATE_SLOT = 1
_LAST_UPDATE_STALE = 9
_MINT = 42
_AVAILABLE = 171
_BORROWED = 179
_OPTIMAL_UTILIZATION = 299
_MIN_RATE, _OPTIMAL_RATE, _MAX_RATE = 303, 304, 305
_TAKE_RATE = 372
_ACCUMULATED_FEES = 373
_MAX_UTILIZATION = 470
_SUPER_MAX_RATE = 471  # eight bytes; the other percentages have one


def terms(data: bytes, slot: Slot) -> Terms:
    """Return the terms of the reserve. Raises RateRefused when a field has an impossible value."""
    updated = _last_update(data, slot)
    available = Fraction(unsigned(data, _AVAILABLE, 8))
    borrowed = wads(data, _BORROWED)
    supplied = available + borrowed - wads(data, _ACCUMULATED_FEES)
    if supplied < 0:
        raise RateRefused(Reason.MALFORMED, "the accumulated fees are above all that is supplied")
    # Like the program, count the fees here, though not in the depositors' supply.
    utilization = borrowed / (available + borrowed) if supplied else Fraction(0)
    borrow_apr = rate_at(_curve(data), utilization)
    return Terms(
        mint=pubkey(data, _MINT),
        supply_apr=utilization * borrow_apr * (1 - _share(data, _TAKE_RATE, "the take rate")),
        borrow_apr=borrow_apr,
        utilization=utilization,
        supplied=supplied,
        borrowed=borrowed,
        as_of=AtSlot(updated),
        convention=CONVENTION,
    )


def _last_update(data: bytes, slot: Slot) -> Slot:
    # A stale reserve was used since its last refresh, but the fields of the rate are up to date.
    if data[_LAST_UPDATE_STALE] > 1:
        raise RateRefused(Reason.MALFORMED, f"the stale flag is {data[_LAST_UPDATE_STALE]}")
    updated = Slot(unsigned(data, _LAST_UPDATE_SLOT, 8))
    if updated > slot:
        raise RateRefused(Reason.MALFORMED, f"last updated in slot {updated}, read in slot {slot}")
    return updated


def _curve(data: bytes) -> list[Point]:
    # The last two settings were padding until June 2023, and are 0 where they were never set. Like
    # the program, raise them: the rate then jumps to the maximum just above the optimum.
    optimal = _share(data, _OPTIMAL_UTILIZATION, "the optimal utilization")
    maximal = _share(data, _MAX_UTILIZATION, "the maximal utilization")
    max_rate = _percent(data, _MAX_RATE)
    return [
        (Fraction(0), _percent(data, _MIN_RATE)),
        (optimal, _percent(data, _OPTIMAL_RATE)),
        (max(maximal, optimal), max_rate),
        (Fraction(1), max(_percent(data, _SUPER_MAX_RATE, size=8), max_rate)),
    ]


def _percent(data: bytes, offset: int, *, size: int = 1) -> Fraction:
    return Fraction(unsigned(data, offset, size), 100)


def _share(data: bytes, offset: int, name: str) -> Fraction:
    """Return a percentage of at most 100. Raises RateRefused above."""
    share = _percent(data, offset)
    if share > 1:
        raise RateRefused(Reason.MALFORMED, f"{name} is {data[offset]} %")
    return share
