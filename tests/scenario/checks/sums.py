"""V1 for whatever is a sum of events, and V2 for whatever is a sum of vaults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.scenario.books import Books
from tests.scenario.checks import Broken, same_map
from tests.scenario.truth import Truth


def sums(truth: Truth, books: Books) -> Iterator[Broken]:
    """Counters, flows, the value in each hour, the distribution of sizes, offsets of accounts."""
    yield from _totals(truth, books)
    yield from _flows(truth, books)
    yield from _tvl(truth, books)
    yield from _sizes(truth, books)
    yield from _offsets(truth, books)


def _totals(truth: Truth, books: Books) -> Iterator[Broken]:
    real: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for line in truth.lines:
        count, amount = real[line.kind]
        real[line.kind] = count + 1, amount + line.amount
    # What a fork has taken back may leave a count of nothing.
    ours = {row["kind"]: (row["count"], row["amount"]) for row in books["event_totals"]}
    yield from same_map("V1", "event_totals", _some(ours), dict(real))


def _flows(truth: Truth, books: Books) -> Iterator[Broken]:
    real: defaultdict[tuple[str, datetime, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for line in truth.lines:
        hour = line.event.time.replace(minute=0, second=0, microsecond=0)
        for bucket, start in (("hour", hour), ("day", hour.replace(hour=0))):
            count, amount = real[bucket, start, line.kind]
            real[bucket, start, line.kind] = count + 1, amount + line.amount
    ours = {
        (row["bucket"], row["start"], row["kind"]): (row["count"], int(row["amount"]))
        for row in books["flows"]
    }
    yield from same_map("V1", "flows", _some(ours), dict(real))


def _tvl(truth: Truth, books: Books) -> Iterator[Broken]:
    """Every hour that moved is there, and whichever is there says what all vaults held at its end.

    A fork may leave an hour in which nothing moves any more.
    """
    growth: defaultdict[datetime, int] = defaultdict(int)
    for line in truth.lines:
        growth[line.event.time.replace(minute=0, second=0, microsecond=0)] += line.growth
    ours = {row["hour"]: int(row["tvl"]) for row in books["tvl_hours"]}
    real = {
        hour: sum(grown for at, grown in growth.items() if at <= hour)
        for hour in growth.keys() | ours.keys()
    }
    yield from same_map("V1", "tvl_hours", ours, real)


def _sizes(truth: Truth, books: Books) -> Iterator[Broken]:
    real: defaultdict[int, list[int]] = defaultdict(lambda: [0] * 6)
    for vault in truth.counted:
        account = truth.accounts[vault]
        if account is None or not truth.ours[vault]:
            continue
        total = account["total_balance"]
        timelocked = sum(entry["amount"] for entry in account["timelocks"])
        held = [
            1,
            total,
            account["available_balance"],
            account["locked_balance"],
            timelocked,
            account["yield_deposited_balance"],
        ]
        digits = len(str(total)) if total else 0
        real[digits] = [one + other for one, other in zip(real[digits], held, strict=True)]
    names = ("vaults", "total", "available", "locked", "timelocked", "yield_deposited")
    ours = {row["digits"]: [int(row[name]) for name in names] for row in books["vault_sizes"]}
    yield from same_map("V2", "vault_sizes", _some(ours), dict(real))


def _offsets(truth: Truth, books: Books) -> Iterator[Broken]:
    """An owner's history is the account's own sums, and what an earlier life of it has counted."""
    ours = {
        row["owner"]: (int(row["deposited"]), int(row["withdrawn"]))
        for row in books["account_offsets"]
    }
    yield from same_map("V1", "account_offsets", _some(ours), _some(truth.offsets))


def _some(held: dict[Any, Any]) -> dict[Any, Any]:
    """Without those that count nothing."""
    return {key: value for key, value in held.items() if any(value)}
