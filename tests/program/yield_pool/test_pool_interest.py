"""Interest equals an independent calculation, to the last fraction of a unit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair

from tests.program.harness.ledger import START, USDT, Ledger
from tests.program.harness.pools import (
    PER_TOKEN_UNIT,
    Pools,
    claim,
    deposit,
    refused,
    set_rate,
    with_yield_pool,
    withdraw,
)

YEAR = 365 * 24 * 60 * 60
MOST = 2**64 - 1
END_OF_TIME = 2**63 - 1


@pytest.fixture
def pools(ledger: Ledger) -> Pools:
    """A pool that pays five percent, with a full reserve."""
    pools = with_yield_pool(ledger, rate_bps=500)
    pools.fund(MOST)
    return pools


def later(pools: Pools, seconds: int) -> None:
    now = pools.ledger.svm.get_clock().unix_timestamp
    pools.ledger.set_time(now + seconds)


def change_rate(pools: Pools, rate_bps: int) -> None:
    pools.ledger.must(set_rate(pools.admin.pubkey(), pools.pool, rate_bps), pools.admin)


def assert_earned(pools: Pools, owner: Keypair, amount: int) -> None:
    """Assert that the owner can claim exactly `amount`, and claim it."""
    too_much = claim(owner.pubkey(), pools.pool, amount + 1)
    refused(pools.ledger.send(too_much, owner), "InsufficientInterest")
    if amount:
        before = pools.ledger.tokens(owner.pubkey())
        pools.ledger.must(claim(owner.pubkey(), pools.pool, amount), owner)
        assert pools.ledger.tokens(owner.pubkey()) == before + amount


def test_a_thousand_at_five_percent_earns_fifty_in_a_year(pools: Pools) -> None:
    owner = pools.saver(deposited=1_000 * USDT)
    later(pools, YEAR)
    assert_earned(pools, owner, 50 * USDT)
    assert pools.position(owner.pubkey())["accrued"] == 0
    later(pools, YEAR)
    assert_earned(pools, owner, 50 * USDT)


def test_nothing_is_earned_in_the_second_of_the_deposit(pools: Pools) -> None:
    assert_earned(pools, pools.saver(deposited=1_000 * USDT), 0)


def test_a_new_rate_applies_from_when_it_is_set(pools: Pools) -> None:
    early = pools.saver(deposited=1_000 * USDT)
    later(pools, YEAR)
    change_rate(pools, 2_000)
    late = pools.saver(deposited=1_000 * USDT)
    later(pools, YEAR // 2)
    change_rate(pools, 0)
    later(pools, 10 * YEAR)
    change_rate(pools, 100)
    later(pools, YEAR)
    assert_earned(pools, early, (50 + 100 + 10) * USDT)
    assert_earned(pools, late, (100 + 10) * USDT)


def test_only_what_is_deposited_earns_and_only_while_it_is(pools: Pools) -> None:
    other = pools.saver(deposited=1_000 * USDT)
    later(pools, YEAR)
    owner = pools.saver(deposited=100 * USDT, usdt=100 * USDT)
    later(pools, YEAR)
    pools.ledger.must(deposit(owner.pubkey(), pools.pool, 100 * USDT), owner)
    later(pools, YEAR)
    pools.ledger.must(withdraw(owner.pubkey(), pools.pool, 200 * USDT), owner)
    later(pools, YEAR)
    assert_earned(pools, owner, (5 + 10) * USDT)
    assert_earned(pools, other, 200 * USDT)


def test_interest_earns_interest_only_once_it_is_deposited(pools: Pools) -> None:
    patient, eager = pools.saver(deposited=1_000 * USDT), pools.saver(deposited=1_000 * USDT)
    later(pools, YEAR)
    steps = [act(eager.pubkey(), pools.pool, 50 * USDT) for act in (claim, deposit)]
    assert pools.ledger.send(steps, eager).error is None
    later(pools, YEAR)
    assert_earned(pools, patient, 100 * USDT)
    assert_earned(pools, eager, 52_500_000)


def test_a_fraction_of_a_unit_is_paid_once_the_unit_is_full(pools: Pools) -> None:
    owner = pools.saver(deposited=1)
    change_rate(pools, 10_000)
    later(pools, YEAR - 1)
    assert_earned(pools, owner, 0)
    assert pools.ledger.svm.get_clock().unix_timestamp == START + YEAR - 1
    later(pools, 1)
    assert_earned(pools, owner, 1)
    later(pools, YEAR - 1)
    assert_earned(pools, owner, 0)


def test_how_often_a_position_is_touched_does_not_change_what_it_earns(pools: Pools) -> None:
    quiet, busy = pools.saver(deposited=999_983), pools.saver(usdt=1, deposited=999_983)
    for _ in range(50):
        later(pools, 7_919)
        steps = [act(busy.pubkey(), pools.pool, 1) for act in (deposit, withdraw)]
        assert pools.ledger.send(steps, busy).error is None
    earned = 999_983 * 500 * 50 * 7_919 // PER_TOKEN_UNIT
    assert earned > 0
    assert_earned(pools, quiet, earned)
    assert_earned(pools, busy, earned)


def test_a_clock_that_goes_backwards_accrues_and_removes_nothing(pools: Pools) -> None:
    owner = pools.saver(usdt=1, deposited=1_000 * USDT)
    later(pools, YEAR)
    change_rate(pools, 500)
    later(pools, -YEAR // 2)
    pools.ledger.must(deposit(owner.pubkey(), pools.pool, 1), owner)
    change_rate(pools, 1_000)
    assert pools.state()["last_accrued_at"] == START + YEAR
    later(pools, YEAR // 2)
    assert_earned(pools, owner, 50 * USDT)
    later(pools, YEAR)
    assert_earned(pools, owner, 100 * USDT)


def test_times_before_1970_are_valid(ledger: Ledger) -> None:
    ledger.set_time(-(2**63))
    pools = with_yield_pool(ledger, rate_bps=500)
    pools.fund(MOST)
    owner = pools.saver(deposited=1_000 * USDT)
    later(pools, YEAR)
    assert_earned(pools, owner, 50 * USDT)


def test_a_century_at_the_highest_rate_accrues_in_full(ledger: Ledger) -> None:
    """No interest is too large to be counted or to let the principal go, whatever is deposited."""
    pools = with_yield_pool(ledger, rate_bps=10_000)
    owner = pools.saver(deposited=MOST)
    later(pools, 100 * YEAR)
    for _ in range(100):
        pools.fund(MOST)
        pools.ledger.put_tokens(owner.pubkey(), 0)
        pools.ledger.must(claim(owner.pubkey(), pools.pool, MOST), owner)
    again = claim(owner.pubkey(), pools.pool, 1)
    refused(pools.ledger.send(again, owner), "InsufficientInterest")
    pools.ledger.put_tokens(owner.pubkey(), 0)
    pools.ledger.must(withdraw(owner.pubkey(), pools.pool, MOST), owner)


def test_at_the_highest_timestamp_interest_stops_and_principal_is_withdrawable(
    ledger: Ledger,
) -> None:
    pools = with_yield_pool(ledger, rate_bps=10_000)
    owner = pools.saver(deposited=MOST)
    ledger.set_time(END_OF_TIME)
    pools.ledger.must(withdraw(owner.pubkey(), pools.pool, 7), owner)
    longest = MOST // 10_000 * 10_000
    assert pools.state()["index"] == longest
    assert pools.position(owner.pubkey())["accrued"] == MOST * longest
    pools.change_pool(last_accrued_at=START)
    pools.ledger.must(withdraw(owner.pubkey(), pools.pool, MOST - 7), owner)
    assert pools.state()["index"] == MOST
    accrued = MOST * longest + (MOST - 7) * (MOST - longest)
    assert pools.position(owner.pubkey())["accrued"] == accrued
    assert pools.ledger.tokens(owner.pubkey()) == MOST


@settings(max_examples=60, deadline=None)
@given(principal=st.integers(0, MOST), growth=st.integers(0, MOST), amount=st.integers(1, MOST))
def test_products_are_exact_whatever_the_numbers(principal: int, growth: int, amount: int) -> None:
    pools = with_yield_pool(Ledger(), rate_bps=0)
    owner = pools.saver()
    pools.fund(MOST)
    pools.ledger.put_tokens(pools.pool, principal)
    pools.change_pool(index=growth, total_principal=principal)
    pools.change_position(owner.pubkey(), principal=principal)
    outcome = pools.ledger.send(claim(owner.pubkey(), pools.pool, amount), owner)
    left = principal * growth - amount * PER_TOKEN_UNIT
    if left < 0:
        refused(outcome, "InsufficientInterest")
    else:
        assert outcome.error is None
        assert pools.position(owner.pubkey())["accrued"] == left


@pytest.mark.parametrize("fields", [{"index": MOST}, {"accrued": 2**128 - 1}])
def test_interest_that_no_position_can_have_is_not_paid(
    pools: Pools, fields: dict[str, int]
) -> None:
    """An index ahead of the pool's, and interest that the next accrual would wrap."""
    owner = pools.saver(deposited=1_000)
    later(pools, YEAR)
    pools.change_position(owner.pubkey(), **fields)
    refused(pools.ledger.send(claim(owner.pubkey(), pools.pool, 1), owner), "Overflow")
