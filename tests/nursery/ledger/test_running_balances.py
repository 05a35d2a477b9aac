"""Running balances, from history lines and observed accounts."""

from __future__ import annotations

from cvms.nursery.ledger.running_balances import extend_running_balances
from cvms.store.vaults.balance_history import BalancePoint
from tests.store.examples import history_row


def point(slot: int, total: int, *, observed: bool) -> BalancePoint:
    return BalancePoint(
        owner="owner",
        slot=slot,
        vault="vault",
        total=total,
        available=total,
        locked=0,
        timelocked=0,
        yield_deposited=0,
        block_time=None,
        observed=observed,
    )


def test_an_account_of_the_same_slot_includes_the_line() -> None:
    line = history_row(slot=5, amount=10)
    assert extend_running_balances([point(5, 110, observed=True)], [line]) == []
    (added,) = extend_running_balances([point(5, 100, observed=False)], [line])
    assert (added.slot, added.total) == (5, 110)


def test_an_account_that_is_ahead_does_not_change_earlier_balances() -> None:
    known = [point(3, 100, observed=False), point(9, 130, observed=True)]
    lines = [history_row(slot=5, amount=10), history_row(slot=12, amount=1)]
    added = extend_running_balances(known, lines)
    assert [(each.slot, each.total) for each in added] == [(5, 110), (12, 131)]
