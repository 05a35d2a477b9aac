"""Rates that are straight lines between points of utilization."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from cvms.chain.yields.rates import Reason, Refused

Point = tuple[Fraction, Fraction]  # utilization, annual rate


def rate_at(points: Sequence[Point], utilization: Fraction) -> Fraction:
    """The rate on the first line that reaches `utilization`; the last line goes on for ever.

    `points` are in the order of utilization. Two may share one: there the rate jumps, behind it.
    Raises Refused when the line falls: the programs do not work with such a one either.
    """
    lines = list(pairwise(points))
    start, end = next((line for line in lines if utilization <= line[1][0]), lines[-1])
    (low, low_rate), (high, high_rate) = start, end
    if low == high:
        return low_rate
    if high_rate < low_rate:
        raise Refused(
            Reason.MALFORMED,
            f"the rate falls from {float(low_rate)} to {float(high_rate)} as utilization rises",
        )
    return low_rate + (utilization - low) / (high - low) * (high_rate - low_rate)
