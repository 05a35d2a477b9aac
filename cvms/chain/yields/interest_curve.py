"""Interest curves: piecewise linear functions of utilization."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from cvms.chain.yields.rates import RateRefused, Reason

Point = tuple[Fraction, Fraction]  # utilization, annual rate


def rate_at(points: Sequence[Point], utilization: Fraction) -> Fraction:
    """Return the rate on the first segment that reaches `utilization`; the last one has no end.

    `points` are ordered by utilization. Where two share one, the rate jumps just above it.
    Raises RateRefused when the segment falls, which the programs do not accept either.
    """
    segments = list(pairwise(points))
    start, end = next((each for each in segments if utilization <= each[1][0]), segments[-1])
    (low, low_rate), (high, high_rate) = start, end
    if low == high:
        return low_rate
    if high_rate < low_rate:
        raise RateRefused(
            Reason.MALFORMED,
            f"the rate falls from {float(low_rate)} to {float(high_rate)} as utilization rises",
        )
    return low_rate + (utilization - low) / (high - low) * (high_rate - low_rate)
