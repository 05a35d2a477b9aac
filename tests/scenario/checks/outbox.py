"""V7: each event is published once and in order, and the last published states are true."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.scenario.checks import Violation, same_list, same_map
from tests.scenario.tables import Row, Tables
from tests.scenario.truth import TrueEntry, Truth

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


def check_outbox(truth: Truth, tables: Tables) -> Iterator[Violation]:
    """Check the outbox from its first row. Nothing is pruned during a scenario."""
    yield from _sequences(tables)
    published = defaultdict(list)
    for row in tables["outbox"]:
        published[row["topic"]].append(row)
    expected = defaultdict(list)
    for entry in truth.entries:
        expected[TOPICS[entry.kind]].append(_true_event(entry))
    for topic in sorted(set(TOPICS.values())):
        rows, violations = _not_retracted(topic, published[topic])
        yield from violations
        yield from same_list("V7", "outbox", map(_event, rows), expected[topic])
    yield from _balances(published["vault_balance_update"], tables)
    yield from _tvl(published["tvl_update"], tables)
    yield from _submissions(published["transaction_update"], tables)


def _sequences(tables: Tables) -> Iterator[Violation]:
    rows = tables["outbox"]
    positions = [row["position"] for row in rows]
    yield from same_list("V7", "outbox", positions, range(1, len(rows) + 1))
    [head] = tables["outbox_head"]
    if head["position"] != len(rows):
        yield Violation("V7", "outbox_head", f"at {head['position']} of {len(rows)} rows")
    by_topic: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_topic[row["topic"]].append(row["seq"])
    for topic, numbers in by_topic.items():
        if numbers != list(range(1, len(numbers) + 1)):
            yield Violation("V7", "outbox", f"{topic} has a gap in its numbers: {numbers}")
    heads = {row["topic"]: row["seq"] for row in tables["outbox_topics"]}
    yield from same_map(
        "V7", "outbox_topics", heads, {topic: len(seqs) for topic, seqs in by_topic.items()}
    )


def _not_retracted(topic: str, rows: list[Row]) -> tuple[list[Row], list[Violation]]:
    """Return the events that were not retracted. A fork retracts the last ones, newest first."""
    events: list[Row] = []
    violations: list[Violation] = []
    for row in rows:
        if row["signature"] is None:
            continue  # a timelock notice, which belongs to no transaction
        if row["type"] == "event":
            events.append(row)
            continue
        places = [at for at, event in enumerate(events) if _event(event) == _event(row)]
        if places[-1:] != [len(events) - 1]:
            which = "another event than the last" if places else "what was not published"
            message = f"{topic} {row['seq']} retracts {which}: {_event(row)}"
            violations.append(Violation("V7", "outbox", message))
        if places:
            del events[places[-1]]
    return events, violations


def _event(row: Row) -> tuple[Any, ...]:
    names = ("owner", "vault", "kind", "amount", "balance_after", "block_time")
    return row["signature"], row["slot"], row["owner"], *(row["data"][name] for name in names)


def _true_event(entry: TrueEntry) -> tuple[Any, ...]:
    event = entry.event
    data = entry.vault, entry.kind, entry.amount, entry.stated_total, event.time.isoformat()
    return event.signature, event.slot, entry.owner, entry.owner, *data


def _balances(rows: list[Row], tables: Tables) -> Iterator[Violation]:
    """Check that the balances last published for each vault are those of its row."""
    names = {"balance": "total"} | {
        name: name for name in ("available", "locked", "timelocked", "yield_deposited")
    }
    last = {row["owner"]: {name: row["data"][name] for name in names} for row in rows}
    stored = {
        row["owner"]: {name: row[column] for name, column in names.items()}
        for row in tables["vaults"]
    }
    yield from same_map("V7", "outbox", last, stored)


def _tvl(rows: list[Row], tables: Tables) -> Iterator[Violation]:
    total = sum(row["total"] for row in tables["vaults"])
    last = rows[-1]["data"]["total"] if rows else 0
    if last != total:
        yield Violation("V7", "outbox", f"the last total value is {last}, not {total}")


def _submissions(rows: list[Row], tables: Tables) -> Iterator[Violation]:
    last = {row["signature"]: row["data"]["status"] for row in rows}
    stored = {
        row["signature"]: row["state"]
        for row in tables["submissions"]
        if row["state"] not in {"built", "pending"}
    }
    yield from same_map("V7", "outbox", last, stored)
