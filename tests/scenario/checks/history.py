"""V1 and V4: every event once and in order, the ledger entries, and the cursor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.scenario.checks import Violation, same_list, same_map
from tests.scenario.tables import Row, Tables
from tests.scenario.truth import TrueEntry, TrueEvent, Truth


def check_history(truth: Truth, tables: Tables) -> Iterator[Violation]:
    """Check events, ledger entries, mints of vaults, the cursor and the applied transactions."""
    yield from _events(truth, tables)
    yield from same_list(
        "V1", "transactions", map(_entry, tables["transactions"]), map(_true_entry, truth.entries)
    )
    yield from same_map(
        "V1",
        "vault_mints",
        {row["vault"]: (row["owner"], row["ours"]) for row in tables["vault_mints"]},
        {vault: (owner, truth.holds_our_mint[vault]) for vault, owner in truth.opened.items()},
    )
    yield from _cursor(truth, tables)
    yield from _applied(truth, tables)


def _events(truth: Truth, tables: Tables) -> Iterator[Violation]:
    real = {event.identity: _true_event(event) for event in truth.events}
    true_data = {event.identity: event.data for event in truth.events}
    ours = {
        _identity(row): _event(row, truth, true_data.get(_identity(row), {}))
        for row in tables["chain_events"]
    }
    yield from same_map("V1", "chain_events", ours, real)


def _identity(row: Row) -> tuple[str, int, int]:
    return row["signature"], row["instruction_index"], row["ordinal"]


def _event(row: Row, truth: Truth, true_data: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the comparable fields of a stored event.

    One reconstructed after a truncated log is marked as rebuilt, and otherwise equal. Of vaults of
    other mints no balances are kept, so fields that need them are missing.
    """
    names = ("slot", "block_time", "name", "vault", "owner", "commitment")
    data = {name: value for name, value in row["data"].items() if name != "rebuilt"}
    if "rebuilt" in row["data"] and row["vault"] not in truth.ever_held_our_mint:
        data |= {name: true_data.get(name) for name, value in data.items() if value is None}
    return *(row[name] for name in names), data


def _true_event(event: TrueEvent) -> tuple[Any, ...]:
    vault, owner = next(iter(event.vaults), None), event.data.get("owner")
    return event.slot, event.time, event.name, vault, owner, "finalized", dict(event.data)


def _entry(row: Row) -> tuple[Any, ...]:
    names = ("owner", "vault", "kind", "amount", "balance_after", "slot", "block_time")
    return *_identity(row), *(row[name] for name in names), row["commitment"]


def _true_entry(entry: TrueEntry) -> tuple[Any, ...]:
    event = entry.event
    fields = entry.owner, entry.vault, entry.kind, entry.amount, entry.stated_total
    return *event.identity, *fields, event.slot, event.time, "finalized"


def _cursor(truth: Truth, tables: Tables) -> Iterator[Violation]:
    last, before = ([None, None, *truth.mentions][at] for at in (-1, -2))
    rows = {row["program"]: row for row in tables["indexer_cursor"]}
    cursor = rows.get(truth.program)
    if last is None or cursor is None:
        if cursor is not None or last is not None:
            yield Violation("V4", "indexer_cursor", f"{cursor} instead of {last}")
        return
    position, previous = (cursor["signature"], cursor["slot"]), cursor["previous_signature"]
    if position != last:
        yield Violation("V4", "indexer_cursor", f"it is at {position} instead of {last}")
    if previous != (before and before[0]):
        message = f"its previous signature is {previous} instead of {before}"
        yield Violation("V4", "indexer_cursor", message)
    if not last[1] <= (cursor["through"] or -1) <= truth.tip:
        message = f"complete through {cursor['through']}, with the last transaction in {last[1]}"
        yield Violation("V4", "indexer_cursor", f"{message} and the chain in {truth.tip}")


def _applied(truth: Truth, tables: Tables) -> Iterator[Violation]:
    """Check that the applied transactions are the newest ones, and at least two of them."""
    rows = [(row["signature"], row["slot"]) for row in tables["applied"]]
    yield from same_list("V4", "applied", rows, truth.mentions[len(truth.mentions) - len(rows) :])
    if len(rows) < min(2, len(truth.mentions)):
        yield Violation("V4", "applied", f"the cursor could not go back: only {rows}")
    for row in tables["applied"]:
        if not row["final"]:
            yield Violation("V4", "applied", f"{row['signature']} is not marked as final")
    places = {row["place"] for row in tables["applied"]}
    for row in tables["applied_before"]:
        if row["place"] not in places:
            yield Violation("V4", "applied_before", f"an undo record of no transaction: {row}")
