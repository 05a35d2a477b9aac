"""The supply rate of a marginfi bank: worked examples, and each pitfall."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from cvms.chain.yields.rates import AtTime, ProtocolName, Reason, SupplyRate
from tests.chain.yields import accounts
from tests.chain.yields.accounts import (
    BANK_LENGTH,
    MINT,
    bank,
    i80f48,
    legacy_bank,
    percent,
    points,
)

P = ProtocolName.MARGINFI
# The fixed group fee alone tells what borrowers pay from the curve.
GROUP_FEE = Decimal("0.0001")


def rate(data: bytes) -> SupplyRate:
    return accounts.rate(P, data)


def base(data: bytes) -> str:
    """Return the curve's rate in percent, with 6 decimals."""
    borrow = rate(data).borrow_apr
    assert borrow is not None
    return percent(borrow - GROUP_FEE, 6)


def test_the_sol_bank_gives_the_rates_that_were_worked_out_by_hand() -> None:
    sol = rate(bank("0.976132481494"))
    assert percent(sol.utilization, 4) == "97.6132"
    assert base(bank("0.976132481494")) == "6.903312"
    assert percent(sol.supply_apr, 6) == "6.738547"
    assert percent(sol.supply_apy, 6) == "6.970774"
    assert percent(sol.borrow_apr, 6) == "6.913312"
    assert sol.mint == MINT
    assert (sol.supplied, sol.borrowed) == (10**12, 976_132_481_494)
    assert sol.as_of == AtTime(1_790_254_442)
    assert sol.convention.word == "per_second"


def test_the_usdt_bank_of_2024_gives_the_rates_that_were_worked_out_by_hand() -> None:
    usdt = rate(legacy_bank("0.78319064092"))
    assert percent(usdt.utilization, 4) == "78.3191"
    assert percent(usdt.supply_apr, 6) == "15.334690"
    assert percent(usdt.supply_apy, 4) == "16.5729"
    assert percent(usdt.borrow_apr, 6) == "21.558754"


@pytest.mark.parametrize(
    ("utilization", "expected"),
    [
        ("0", "0.000000"),
        ("0.45", "2.500000"),
        ("0.9", "5.000000"),
        ("0.94", "6.000000"),
        ("0.98", "7.000000"),
        ("0.985", "8.500000"),
        ("0.99", "10.000000"),
        ("0.995", "15.000000"),
        ("1", "20.000000"),
        ("1.5", "20.000000"),
    ],
)
def test_the_curve_of_seven_points_is_straight_between_them(
    utilization: str, expected: str
) -> None:
    assert base(bank(utilization)) == expected


def test_a_curve_may_begin_above_zero_and_use_all_of_its_points() -> None:
    five = points(("0.1", "0.02"), ("0.2", "0.03"), ("0.3", "0.04"), ("0.4", "0.05"), ("0.5", "1"))
    full = {"zero_rate": accounts.annual("0.01"), "points": five, "hundred_rate": 2**32 - 1}
    assert base(bank("0", **full)) == "1.000000"
    assert base(bank("0.35", **full)) == "4.500000"
    assert base(bank("0.75", **full)) == "550.000000"
    assert base(bank("1", **full)) == "1000.000000"


def test_a_curve_without_inner_points_is_one_line() -> None:
    assert base(bank("0.25", points=points())) == "5.000000"


def test_unused_points_are_not_points_at_zero() -> None:
    one = bank("0.95", points=points(("0.9", "0.05")))
    assert base(one) == "12.500000"


@pytest.mark.parametrize(
    "given",
    [
        points(("0", "0"), ("0.9", "0.05")),
        points(("0.5", "0.01"), ("0", "0"), ("0.9", "0.05")),
        points(("0.9", "0.05"), ("0.9", "0.06")),
        points(("0.9", "0.05"), ("0.8", "0.06")),
        points(("0.9", "0.05"), ("1", "0.06")),
    ],
)
def test_points_out_of_order_make_no_curve(given: bytes) -> None:
    assert accounts.refused_for(P, bank("0.5", points=given)) is Reason.MALFORMED


def test_a_curve_that_falls_where_the_bank_is_gives_no_rate() -> None:
    falling = points(("0.5", "0.1"), ("0.9", "0.05"))
    assert accounts.refused_for(P, bank("0.7", points=falling)) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("utilization", "expected"),
    [
        ("0", "0.000000"),
        ("0.4", "10.000000"),
        ("0.8", "20.000000"),
        ("0.9", "210.000000"),
        ("1.1", "590.000000"),
    ],
)
def test_the_legacy_curve_has_a_knee(utilization: str, expected: str) -> None:
    bare = {"insurance_share": 0, "group_fixed": i80f48(Fraction(GROUP_FEE))}
    assert base(legacy_bank(utilization, **bare)) == expected


def test_the_type_alone_says_which_curve_counts() -> None:
    both: dict[str, Any] = {
        "optimal_utilization": i80f48("0.8"),
        "plateau_rate": i80f48("0.2"),
        "max_rate": i80f48(4),
    }
    assert base(bank("0.9", **both, curve_type=1)) == "5.000000"
    assert base(bank("0.9", **both, curve_type=0)) == "210.000000"


@pytest.mark.parametrize("curve_type", [2, 255])
def test_an_unknown_type_of_curve_is_refused(curve_type: int) -> None:
    refusal = accounts.refusal(P, bank("0.5", curve_type=curve_type))
    assert refusal.reason is Reason.UNKNOWN_CURVE
    assert str(curve_type) in refusal.detail


@pytest.mark.parametrize("optimal", ["0", "1", "1.5"])
def test_a_legacy_curve_without_a_knee_is_none(optimal: str) -> None:
    data = legacy_bank("0.5", optimal_utilization=i80f48(optimal))
    assert accounts.refused_for(P, data) is Reason.MALFORMED


@pytest.mark.parametrize("tag", [2, 3, 4, 5, 6, 7, 255])
def test_a_bank_without_loans_of_its_own_has_no_rate(tag: int) -> None:
    refusal = accounts.refusal(P, bank("0", asset_tag=tag))
    assert refusal.reason is Reason.NO_OWN_LOANS
    assert f"asset tag is {tag}" in refusal.detail


@pytest.mark.parametrize("tag", [0, 1])
def test_the_default_and_sol_lend(tag: int) -> None:
    assert rate(bank("0.9", asset_tag=tag)).supply_apr > 0


@pytest.mark.parametrize("state", [0, 3, 4, 6, 255])
def test_a_bank_that_does_not_operate_has_no_rate(state: int) -> None:
    refusal = accounts.refusal(P, bank("0.5", state=state))
    assert refusal.reason is Reason.NOT_OPERATING
    assert f"state is {state}" in refusal.detail


@pytest.mark.parametrize("state", [2, 5])
def test_those_who_deposited_before_a_bank_was_reduced_still_earn(state: int) -> None:
    assert rate(bank("0.9", state=state)).supply_apr == rate(bank("0.9")).supply_apr


def test_shares_are_worth_what_their_value_says_also_after_a_loss() -> None:
    loss = rate(bank("0.45", asset_share_value=i80f48("0.75"), liability_share_value=i80f48("1.5")))
    assert (loss.supplied, loss.borrowed) == (75 * 10**10, 675 * 10**9)
    assert loss.utilization == Decimal("0.9")
    assert percent(loss.supply_apr, 6) == "4.500000"


def test_more_loans_than_deposits_pay_the_highest_rate_on_all_of_them() -> None:
    assert percent(rate(bank("1.5")).supply_apr, 6) == "30.000000"


def test_nothing_lent_earns_nothing() -> None:
    idle = rate(bank("0", zero_rate=accounts.annual("0.04")))
    assert idle.supply_apr == idle.supply_apy == idle.utilization == 0


def test_a_bank_without_deposits_earns_nothing() -> None:
    empty = rate(bank("0", asset_shares=0))
    assert empty.supply_apr == empty.supplied == empty.borrowed == 0


def test_fees_are_on_top_for_borrowers_and_nothing_less_for_depositors() -> None:
    free = rate(legacy_bank("0.8", insurance_share=0, group_fixed=0))
    fees = rate(legacy_bank("0.8", insurance_fixed=i80f48("0.02"), group_share=i80f48("0.1")))
    assert fees.supply_apr == free.supply_apr
    assert percent(free.borrow_apr, 6) == "20.000000"
    assert percent(fees.borrow_apr, 6) == "26.000000"  # 20 % · 1.15 + 3 %


@pytest.mark.parametrize(
    "name",
    [
        "asset_shares",
        "asset_share_value",
        "liability_shares",
        "liability_share_value",
        "group_fixed",
        "last_update",
    ],
)
def test_what_cannot_be_negative_is_refused_when_it_is(name: str) -> None:
    assert accounts.refused_for(P, bank("0.5", **{name: -1})) is Reason.MALFORMED


def test_a_negative_legacy_rate_is_refused() -> None:
    assert accounts.refused_for(P, legacy_bank("0.5", plateau_rate=-1)) is Reason.MALFORMED


@pytest.mark.parametrize(
    "changes",
    [
        {"asset_shares": 1},  # almost nothing is owed to depositors, and much by borrowers
        {"group_fixed": 2**100},
    ],
)
def test_implausible_numbers_are_refused(changes: dict[str, int]) -> None:
    assert accounts.refused_for(P, bank("0.5", **changes)) is Reason.IMPLAUSIBLE


def test_another_account_of_the_program_is_refused() -> None:
    group = bank("0.5", discriminator=bytes((182, 23, 173, 240, 151, 206, 182, 67)))
    assert accounts.refused_for(P, group) is Reason.WRONG_KIND


@pytest.mark.parametrize("length", [0, 8, BANK_LENGTH - 1, BANK_LENGTH + 1, 1064])
def test_another_length_is_another_kind_of_account(length: int) -> None:
    data = bank("0.5").ljust(length, b"\0")[:length]
    assert accounts.refused_for(P, data) is Reason.WRONG_LENGTH
