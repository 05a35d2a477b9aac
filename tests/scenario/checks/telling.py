"""V7: each event is told once and in order, and what was told last is so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.scenario.books import Books, Row
from tests.scenario.checks import Broken, same_list, same_map
from tests.scenario.truth import TrueLine, Truth

TOPICS = {
    "deposit": "deposit_event",
    "withdraw": "withdraw_event",
    "emergency_withdraw": "withdraw_event",
    "lock": "lock_event",
    "unlock": "unlock_event",
    "transfer_in": "transfer_event",
    "transfer_out": "transfer_event",
    "timelock": "timelock_event",
    "timelock_release": "timelock_event",
    "yield_deposit": "yield_event",
    "yield_withdraw": "yield_event",
    "yield_compound": "yield_event",
}


def telling(truth: Truth, books: Books) -> Iterator[Broken]:
    """The outbox, from its first row: nothing is pruned while a scenario lasts."""
    yield from _numbered(books)
    told = defaultdict(list)
    for row in books["outbox"]:
        told[row["topic"]].append(row)
    real = defaultdict(list)
    for line in truth.lines:
        real[TOPICS[line.kind]].append(_true_event(line))
    for topic in sorted(set(TOPICS.values())):
        left, broken = _standing(topic, told[topic])
        yield from broken
        yield from same_list("V7", "outbox", map(_event, left), real[topic])
    yield from _balances(told["vault_balance_update"], books)
    yield from _tvl(told["tvl_update"], books)
    yield from _submissions(told["transaction_update"], books)


def _numbered(books: Books) -> Iterator[Broken]:
    rows = books["outbox"]
    positions = [row["position"] for row in rows]
    yield from same_list("V7", "outbox", positions, range(1, len(rows) + 1))
    [head] = books["outbox_head"]
    if head["position"] != len(rows):
        yield Broken("V7", "outbox_head", f"at {head['position']} of {len(rows)} rows")
    by_topic: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_topic[row["topic"]].append(row["seq"])
    for topic, numbers in by_topic.items():
        if numbers != list(range(1, len(numbers) + 1)):
            yield Broken("V7", "outbox", f"the numbers of {topic} have a gap: {numbers}")
    heads = {row["topic"]: row["seq"] for row in books["outbox_topics"]}
    yield from same_map(
        "V7", "outbox_topics", heads, {topic: len(seqs) for topic, seqs in by_topic.items()}
    )


def _standing(topic: str, rows: list[Row]) -> tuple[list[Row], list[Broken]]:
    """What was told and not taken back; a fork takes back what it was that was told last."""
    left: list[Row] = []
    broken: list[Broken] = []
    for row in rows:
        if row["signature"] is None:
            continue  # told when its time had come, as no transaction tells
        if row["type"] == "event":
            left.append(row)
        elif left and _event(left[-1]) == _event(row):
            left.pop()
        else:
            says = f"{topic} {row['seq']} takes back what does not stand: {_event(row)}"
            broken.append(Broken("V7", "outbox", says))
    return left, broken


def _event(row: Row) -> tuple[Any, ...]:
    names = ("owner", "vault", "kind", "amount", "balance_after", "block_time")
    return row["signature"], row["slot"], row["owner"], *(row["data"][name] for name in names)


def _true_event(line: TrueLine) -> tuple[Any, ...]:
    at = line.event
    what = line.owner, line.vault, line.kind, line.amount, line.stated_total, at.time.isoformat()
    return at.signature, at.slot, line.owner, *what


def _balances(rows: list[Row], books: Books) -> Iterator[Broken]:
    """The last balances told of each vault are those of its row."""
    names = {"balance": "total"} | {
        name: name for name in ("available", "locked", "timelocked", "yield_deposited")
    }
    last = {row["owner"]: {name: row["data"][name] for name in names} for row in rows}
    held = {
        row["owner"]: {name: row[column] for name, column in names.items()}
        for row in books["vaults"]
    }
    yield from same_map("V7", "outbox", last, held)


def _tvl(rows: list[Row], books: Books) -> Iterator[Broken]:
    total = sum(row["total"] for row in books["vaults"])
    last = rows[-1]["data"]["total"] if rows else 0
    if last != total:
        yield Broken("V7", "outbox", f"the value told last is {last}; the vaults hold {total}")


def _submissions(rows: list[Row], books: Books) -> Iterator[Broken]:
    last = {row["signature"]: row["data"]["status"] for row in rows}
    held = {
        row["signature"]: row["state"]
        for row in books["submissions"]
        if row["state"] not in {"built", "pending"}
    }
    yield from same_map("V7", "outbox", last, held)
