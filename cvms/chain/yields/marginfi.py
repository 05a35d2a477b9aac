"""marginfi v2: the supply rate of a Bank that makes its own loans.

Layout and arithmetic follow 0dotxyz/marginfi-v2: type-crate/src/types/{bank,bank_config,
interest_rate}.rs and programs/marginfi/src/state/interest_rate.rs. docs/yield.md has the formulas.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from solders.pubkey import Pubkey

from cvms.chain.types import Slot
from cvms.chain.yields.account_layout import i80f48, pubkey, signed, unsigned
from cvms.chain.yields.interest_curve import Point, rate_at
from cvms.chain.yields.rates import AtTime, Convention, RateRefused, Reason, Terms

PROGRAM = Pubkey.from_string("MFv2hWf31Z9kbCa1snEPYctwafyhdvnV7FZnsebVacA")
LENGTH = 1864
MARKER = bytes.fromhex("8e31a6f2324261bc")
SECONDS_PER_YEAR = 31_536_000
CONVENTION = Convention(
    word="per_second",
    sentence="Compounded every second of a year of 365 days; the chain compounds at each use.",
    periods=SECONDS_PER_YEAR,
)

_MINT = 8
_ASSET_SHARE_VALUE, _LIABILITY_SHARE_VALUE = 80, 96
_LIABILITY_SHARES, _ASSET_SHARES = 256, 272
_LAST_UPDATE = 288
_OPTIMAL_UTILIZATION, _PLATEAU_RATE, _MAX_RATE = 368, 384, 400  # the legacy curve's
_INSURANCE_FIXED, _INSURANCE_SHARE = 416, 432
_GROUP_FIXED, _GROUP_SHARE = 448, 464
_ZERO_RATE, _FULL_RATE = 496, 500
_POINTS, _POINT_COUNT, _POINT_SIZE = 504, 5, 8
_CURVE_TYPE = 544
_STATE = 608
_ASSET_TAG = 785

_U32_MAX = 2**32 - 1  # stands for a utilization of 100 %
_MAX_CURVE_RATE = 10  # or for a rate of 1000 %

# Operational, and two kinds of reduce-only: existing deposits still earn.
_EARNING_STATES = frozenset({1, 2, 5})
_OTHER_STATES = {0: "paused", 3: "killed by a bankruptcy", 4: "not initialized"}
_LENDING_TAGS = frozenset({0, 1})  # the default, and SOL
_OTHER_TAGS = {
    2: "staked SOL, which earns no interest here",
    3: "deposited in Kamino",
    4: "deposited in Drift",
    5: "deposited in Solend",
    6: "deposited in JupLend",
}


def terms(data: bytes, _slot: Slot) -> Terms:
    """Return the terms of the bank.

    `borrow_apr` includes the bank's own fees; the group's account may add one for the program.
    Raises RateRefused when the bank does not lend, or when a field has an impossible value.
    """
    _check_lending(data)
    supplied = _amount(data, _ASSET_SHARES, _ASSET_SHARE_VALUE)
    borrowed = _amount(data, _LIABILITY_SHARES, _LIABILITY_SHARE_VALUE)
    utilization = borrowed / supplied if supplied else Fraction(0)
    base = _base_rate(data, utilization)
    return Terms(
        mint=pubkey(data, _MINT),
        supply_apr=base * utilization,  # borrowers pay the fees on top
        borrow_apr=_with_fees(data, base),
        utilization=utilization,
        supplied=supplied,
        borrowed=borrowed,
        as_of=AtTime(_last_update(data)),
        convention=CONVENTION,
    )


def _check_lending(data: bytes) -> None:
    state, tag = data[_STATE], data[_ASSET_TAG]
    if state not in _EARNING_STATES:
        name = _OTHER_STATES.get(state, "unknown")
        raise RateRefused(Reason.NOT_OPERATING, f"the bank's state is {state}: {name}")
    if tag not in _LENDING_TAGS:
        name = _OTHER_TAGS.get(tag, "unknown")
        raise RateRefused(Reason.NO_OWN_LOANS, f"the bank's asset tag is {tag}: {name}")


def _amount(data: bytes, shares: int, value: int) -> Fraction:
    return i80f48(data, shares, "a number of shares") * i80f48(data, value, "a share's value")


def _last_update(data: bytes) -> int:
    updated = signed(data, _LAST_UPDATE, 8)
    if updated < 0:
        raise RateRefused(Reason.MALFORMED, f"last updated at {updated}")
    return updated


def _with_fees(data: bytes, base: Fraction) -> Fraction:
    share = i80f48(data, _INSURANCE_SHARE, "a fee") + i80f48(data, _GROUP_SHARE, "a fee")
    fixed = i80f48(data, _INSURANCE_FIXED, "a fee") + i80f48(data, _GROUP_FIXED, "a fee")
    return base * (1 + share) + fixed


def _base_rate(data: bytes, utilization: Fraction) -> Fraction:
    # The seven points occupy the padding of the legacy layout: only the type distinguishes them.
    match data[_CURVE_TYPE]:
        case 0:
            return rate_at(_legacy_points(data), utilization)
        case 1:
            return rate_at(_seven_points(data), min(utilization, Fraction(1)))
        case unknown:
            raise RateRefused(Reason.UNKNOWN_CURVE, f"the curve's type is {unknown}")


def _legacy_points(data: bytes) -> list[Point]:
    optimal = i80f48(data, _OPTIMAL_UTILIZATION, "the optimal utilization")
    if not 0 < optimal < 1:
        raise RateRefused(Reason.MALFORMED, f"the optimal utilization is {float(optimal)}")
    return [
        (Fraction(0), Fraction(0)),
        (optimal, i80f48(data, _PLATEAU_RATE, "the plateau rate")),
        (Fraction(1), i80f48(data, _MAX_RATE, "the maximal rate")),
    ]


def _seven_points(data: bytes) -> list[Point]:
    """Return the points in use. Raises RateRefused unless their utilizations rise."""
    offsets = range(_POINTS, _POINTS + _POINT_COUNT * _POINT_SIZE, _POINT_SIZE)
    inner = [(_utilization(data, each), _rate(data, each + 4)) for each in offsets]
    while inner and not inner[-1][0]:
        inner.pop()
    points = [
        (Fraction(0), _rate(data, _ZERO_RATE)),
        *inner,
        (Fraction(1), _rate(data, _FULL_RATE)),
    ]
    if any(high <= low for (low, _), (high, _) in pairwise(points)):
        raise RateRefused(Reason.MALFORMED, "the utilizations of the curve's points do not rise")
    return points


def _utilization(data: bytes, offset: int) -> Fraction:
    return Fraction(unsigned(data, offset, 4), _U32_MAX)


def _rate(data: bytes, offset: int) -> Fraction:
    return Fraction(unsigned(data, offset, 4) * _MAX_CURVE_RATE, _U32_MAX)
