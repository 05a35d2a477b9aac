"""Compute unit limits and prices."""

from __future__ import annotations

import pytest

from cvms.chain.transactions.compute_budget import compute_unit_limit, price_among
from cvms.chain.transactions.versioned import MAX_COMPUTE_UNITS


def test_a_limit_leaves_a_tenth_and_never_exceeds_the_clusters() -> None:
    assert compute_unit_limit(100_000) == 110_150
    assert compute_unit_limit(0) > 0
    assert compute_unit_limit(1_390_000) == MAX_COMPUTE_UNITS


@pytest.mark.parametrize(
    ("fees", "price"),
    [([], 0), ([0, 0, 0], 0), ([5], 5), ([1, 2, 3, 4], 4), ([4, 1, 3, 2, 0, 0, 0, 0], 3)],
)
def test_the_price_is_what_most_recent_slots_took(fees: list[int], price: int) -> None:
    assert price_among(fees, 1000) == price


def test_a_price_is_capped_whatever_others_pay() -> None:
    assert price_among([10**12] * 150, 1000) == 1000
