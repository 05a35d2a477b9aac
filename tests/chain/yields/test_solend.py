"""The supply rate of a Solend reserve: worked examples, and each pitfall."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest

from cvms.chain.types import Slot
from cvms.chain.yields.rates import AtSlot, ProtocolName, Reason, SupplyRate
from tests.chain.yields import accounts
from tests.chain.yields.accounts import MINT, RESERVE_LENGTH, WAD, lent, percent, reserve

P = ProtocolName.SOLEND


def rate(data: bytes) -> SupplyRate:
    return accounts.rate(P, data)


def borrow_apr(data: bytes) -> Decimal:
    found = rate(data).borrow_apr
    assert found is not None
    return found


def test_the_main_usdc_reserve_gives_the_rates_that_were_worked_out_by_hand() -> None:
    usdc = rate(reserve())
    assert usdc.utilization is not None
    assert f"{usdc.utilization:.10f}" == "0.7629069454"
    assert percent(usdc.borrow_apr, 8) == "2.65849336"
    assert percent(usdc.supply_apr, 8) == "1.62254644"
    assert percent(usdc.supply_apy, 8) == "1.63578121"
    assert usdc.mint == MINT
    assert (usdc.supplied, usdc.borrowed) == (22_513_745_961_774, 17_175_893_161_672)
    assert usdc.as_of == AtSlot(Slot(453_613_244))
    assert usdc.convention.word == "per_slot"


def test_whoever_knows_how_long_slots_really_take_can_restate_the_yield() -> None:
    usdc = rate(reserve())
    slots = 31_536_000 * 10 // 4  # of 0.4 s
    with localcontext(prec=40):
        growth = (1 + usdc.supply_apr / usdc.convention.periods) ** slots
    assert percent(growth - 1, 8) == "2.04889044"


def test_a_reserve_that_was_used_since_its_last_refresh_has_the_same_rate() -> None:
    fresh, stale = rate(reserve()), rate(reserve(stale=1))
    assert stale.supply_apy == fresh.supply_apy
    assert stale.as_of == fresh.as_of


@pytest.mark.parametrize(
    ("utilization", "expected"),
    [
        (0, "1"),
        (46, "2"),
        (92, "3"),
        ("92.03", "3.04"),  # a hundredth of the way from 3 % to 7 %
        (95, "7"),
        ("95.05", "8.43"),  # a hundredth of the way from 7 % to 150 %
        (100, "150"),
    ],
)
def test_borrowers_pay_along_three_lines_that_meet(utilization: int | str, expected: str) -> None:
    assert borrow_apr(lent(utilization)) * 100 == Decimal(expected)


UNMIGRATED = {"max_utilization": 0, "super_max_rate": 0, "take_rate": 0}


def test_a_config_from_before_the_third_line_jumps_to_the_maximal_rate() -> None:
    assert borrow_apr(lent(92, **UNMIGRATED)) == Decimal("0.03")
    assert borrow_apr(lent("92.0000001", **UNMIGRATED)) == Decimal("0.07")
    assert borrow_apr(lent(100, **UNMIGRATED)) == Decimal("0.07")


def test_a_maximal_utilization_below_the_optimal_one_is_raised_to_it() -> None:
    assert borrow_apr(lent(91, max_utilization=50)) == borrow_apr(lent(91))
    # From 7 % at 92 on to 150 % at 100.
    assert borrow_apr(lent(96, max_utilization=50)) == Decimal("0.785")


def test_a_rate_at_full_utilization_below_the_maximal_rate_is_raised_to_it() -> None:
    assert borrow_apr(lent(100, super_max_rate=6)) == Decimal("0.07")


def test_the_rate_at_full_utilization_is_eight_bytes_long() -> None:
    assert borrow_apr(lent(100, super_max_rate=2_500)) == 25
    with_neighbour = lent(100, super_max_rate=150, max_liquidation_bonus=255)
    assert borrow_apr(with_neighbour) == Decimal("1.5")


def test_the_protocol_takes_its_share_of_the_interest() -> None:
    whole, shared = rate(lent(46, take_rate=0)), rate(lent(46, take_rate=25))
    assert whole.supply_apr == Decimal("0.0092")  # 46 % of 2 %
    assert shared.supply_apr == Decimal("0.0069")
    assert rate(lent(46, take_rate=100)).supply_apr == 0


def test_fees_not_yet_swept_belong_to_nobody_but_count_in_the_utilization() -> None:
    swept, unswept = rate(lent(50)), rate(lent(50, accumulated_fees_wads=10**9 * WAD))
    assert unswept.supplied == swept.supplied - 10**9
    assert unswept.supply_apr == swept.supply_apr


def test_nothing_lent_earns_nothing() -> None:
    idle = rate(lent(0))
    assert idle.supply_apr == idle.supply_apy == idle.utilization == 0
    assert idle.borrow_apr == Decimal("0.01")


def test_an_empty_reserve_earns_nothing() -> None:
    empty = rate(reserve(available=0, borrowed_wads=0))
    assert empty.supply_apr == empty.supplied == empty.borrowed == 0


def test_a_supply_that_is_all_fees_earns_nobody_anything() -> None:
    owed = reserve(available=0, borrowed_wads=5 * WAD, accumulated_fees_wads=5 * WAD)
    assert rate(owed).supply_apr == rate(owed).utilization == 0


def test_an_optimum_of_zero_is_no_division_by_zero() -> None:
    assert borrow_apr(lent(0, optimal_utilization=0)) == Decimal("0.01")
    assert borrow_apr(lent("47.5", optimal_utilization=0)) == Decimal("0.05")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 0}, Reason.WRONG_KIND),
        ({"version": 2}, Reason.WRONG_KIND),
        ({"stale": 2}, Reason.MALFORMED),
        ({"optimal_utilization": 101}, Reason.MALFORMED),
        ({"max_utilization": 101}, Reason.MALFORMED),
        ({"take_rate": 101}, Reason.MALFORMED),
        ({"min_rate": 4}, Reason.MALFORMED),  # above the optimal rate of 3
        ({"accumulated_fees_wads": 10**16 * WAD}, Reason.MALFORMED),
        ({"last_update_slot": accounts.SLOT + 1}, Reason.MALFORMED),
        ({"super_max_rate": 2**64 - 1, "available": 1}, Reason.IMPLAUSIBLE),
    ],
)
def test_what_no_reserve_can_hold_gives_no_rate(changes: dict[str, int], reason: Reason) -> None:
    assert accounts.refused_for(P, reserve(**changes)) is reason


@pytest.mark.parametrize("length", [0, 1, RESERVE_LENGTH - 1, RESERVE_LENGTH + 1, 1300])
def test_another_length_is_another_kind_of_account(length: int) -> None:
    data = reserve().ljust(length, b"\0")[:length]
    refusal = accounts.refusal(P, data)
    assert refusal.reason is Reason.WRONG_LENGTH
    assert str(length) in refusal.detail


def test_a_copy_of_a_reserve_under_another_program_is_refused_with_its_name() -> None:
    refusal = accounts.refusal(P, reserve(), owner=accounts.MARGINFI)
    assert refusal.reason is Reason.WRONG_OWNER
    assert str(accounts.MARGINFI) in refusal.detail
