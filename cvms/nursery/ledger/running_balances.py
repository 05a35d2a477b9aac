"""Balances of vaults after each history line, computed by the program's rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cvms.store.vaults.balance_history import BalancePoint
from cvms.store.vaults.history import HistoryRow, change_of

Points = dict[int, BalancePoint]


def extend_running_balances(
    known: Sequence[BalancePoint], lines: Iterable[HistoryRow]
) -> list[BalancePoint]:
    """Return the points that these lines add to those `known`, one for each owner and slot.

    `known` holds each owner's last point before its first line, and all later ones. A point that
    was observed in the slot of a line, from the account, includes that line already.
    """
    by_owner: dict[str, Points] = {}
    for point in known:
        by_owner.setdefault(point.owner, {})[point.slot] = point
    added: dict[tuple[str, int], BalancePoint] = {}
    for line in lines:
        points = by_owner.setdefault(line.owner, {})
        last = max((slot for slot in points if slot <= line.slot), default=None)
        before = zero_balance(line) if last is None else points[last]
        if before.observed and before.slot == line.slot:
            continue
        points[line.slot] = added[line.owner, line.slot] = apply_entry(before, line)
    return list(added.values())


def running_balances(lines: Iterable[HistoryRow]) -> list[BalancePoint]:
    """Return all points of one owner, given all of the owner's lines in order."""
    points: Points = {}
    last: BalancePoint | None = None
    for line in lines:
        last = points[line.slot] = apply_entry(last or zero_balance(line), line)
    return list(points.values())


def apply_entry(before: BalancePoint, line: HistoryRow) -> BalancePoint:
    """Return the balances after the line, given those before it."""
    change = change_of(line.kind, line.amount, available=before.available)
    return replace(
        before,
        slot=line.slot,
        vault=line.vault,
        total=before.total + change.total,
        available=before.available + change.available,
        locked=before.locked + change.locked,
        timelocked=before.timelocked + change.timelocked,
        yield_deposited=before.yield_deposited + change.yield_deposited,
        block_time=line.block_time,
        observed=False,
    )


def zero_balance(line: HistoryRow) -> BalancePoint:
    """Return the balances of the line's vault before its first line."""
    return BalancePoint(
        owner=line.owner,
        slot=line.slot,
        vault=line.vault,
        total=0,
        available=0,
        locked=0,
        timelocked=0,
        yield_deposited=0,
        block_time=None,
        observed=False,
    )
