"""V1 for sums over events, and V2 for sums over vaults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.scenario.checks import Violation, same_map
from tests.scenario.tables import Tables
from tests.scenario.truth import Truth


def check_aggregates(truth: Truth, tables: Tables) -> Iterator[Violation]:
    """Check counters, flows, hourly total values, the distribution of sizes, account offsets."""
    yield from _totals(truth, tables)
    yield from _flows(truth, tables)
    yield from _tvl(truth, tables)
    yield from _sizes(truth, tables)
    yield from _offsets(truth, tables)


def _totals(truth: Truth, tables: Tables) -> Iterator[Violation]:
    real: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for entry in truth.entries:
        count, amount = real[entry.kind]
        real[entry.kind] = count + 1, amount + entry.amount
    # Rolled back events may leave a count of zero.
    ours = {row["kind"]: (row["count"], row["amount"]) for row in tables["event_totals"]}
    yield from same_map("V1", "event_totals", _nonzero(ours), dict(real))


def _flows(truth: Truth, tables: Tables) -> Iterator[Violation]:
    real: defaultdict[tuple[str, datetime, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for entry in truth.entries:
        hour = entry.event.time.replace(minute=0, second=0, microsecond=0)
        for bucket, start in (("hour", hour), ("day", hour.replace(hour=0))):
            count, amount = real[bucket, start, entry.kind]
            real[bucket, start, entry.kind] = count + 1, amount + entry.amount
    ours = {
        (row["bucket"], row["start"], row["kind"]): (row["count"], int(row["amount"]))
        for row in tables["flows"]
    }
    yield from same_map("V1", "flows", _nonzero(ours), dict(real))


def _tvl(truth: Truth, tables: Tables) -> Iterator[Violation]:
    """Check that each hour with a change is present, with the total value at its end.

    A fork may leave an hour without changes.
    """
    changes: defaultdict[datetime, int] = defaultdict(int)
    for entry in truth.entries:
        changes[entry.event.time.replace(minute=0, second=0, microsecond=0)] += entry.total_change
    ours = {row["hour"]: int(row["tvl"]) for row in tables["tvl_hours"]}
    real = {
        hour: sum(change for at, change in changes.items() if at <= hour)
        for hour in changes.keys() | ours.keys()
    }
    yield from same_map("V1", "tvl_hours", ours, real)


def _sizes(truth: Truth, tables: Tables) -> Iterator[Violation]:
    real: defaultdict[int, list[int]] = defaultdict(lambda: [0] * 6)
    for vault in truth.ever_held_our_mint:
        account = truth.accounts[vault]
        if account is None or not truth.holds_our_mint[vault]:
            continue
        total = account["total_balance"]
        timelocked = sum(entry["amount"] for entry in account["timelocks"])
        balances = [
            1,
            total,
            account["available_balance"],
            account["locked_balance"],
            timelocked,
            account["yield_deposited_balance"],
        ]
        digits = len(str(total)) if total else 0
        real[digits] = [sum(pair) for pair in zip(real[digits], balances, strict=True)]
    names = ("vaults", "total", "available", "locked", "timelocked", "yield_deposited")
    ours = {row["digits"]: [int(row[name]) for name in names] for row in tables["vault_sizes"]}
    yield from same_map("V2", "vault_sizes", _nonzero(ours), dict(real))


def _offsets(truth: Truth, tables: Tables) -> Iterator[Violation]:
    """Check the differences between the history's sums and the accounts' own sums."""
    ours = {
        row["owner"]: (int(row["deposited"]), int(row["withdrawn"]))
        for row in tables["account_offsets"]
    }
    yield from same_map("V1", "account_offsets", _nonzero(ours), _nonzero(truth.offsets))


def _nonzero(counts: dict[Any, Any]) -> dict[Any, Any]:
    return {key: value for key, value in counts.items() if any(value)}
