"""Limits and prices."""

from __future__ import annotations

import pytest
from solders.hash import Hash
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.fees import compute_unit_limit, price_among, within_fee
from cvms.chain.transactions import MAX_COMPUTE_UNITS, LatestBlockhash, build_transaction
from cvms.chain.types import BlockHeight, Lamports, Slot


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


@pytest.mark.parametrize(
    ("price", "most", "paid"),
    [(0, 5_000, 0), (100, 5_000, 0), (100, 4_000, 0), (100, 25_000, 100), (200_000, 25_000, 1e5)],
)
def test_a_fee_is_kept_within_what_may_be_paid(price: int, most: int, paid: int) -> None:
    """One signature is 5,000 lamports; 200,000 units at 100,000 millionths are 20,000 more."""
    latest = LatestBlockhash(Hash.default(), BlockHeight(1), Slot(1))
    built = build_transaction(
        Instruction(Pubkey.new_unique(), b"", []),
        fee_payer=Pubkey.new_unique(),
        blockhash=latest,
        compute_unit_limit=200_000,
        compute_unit_price=price,
    )
    assert within_fee(built, Lamports(most)).compute_unit_price == paid
