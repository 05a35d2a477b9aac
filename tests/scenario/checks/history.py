"""V1 and V4: every event once and in order, every line of the history, and the cursor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.scenario.books import Books, Row
from tests.scenario.checks import Broken, same_list, same_map
from tests.scenario.truth import TrueEvent, TrueLine, Truth


def past(truth: Truth, books: Books) -> Iterator[Broken]:
    """The events, the lines that follow from them, whose vaults they are about, how far it goes."""
    yield from _events(truth, books)
    yield from same_list(
        "V1", "transactions", map(_line, books["transactions"]), map(_true_line, truth.lines)
    )
    yield from same_map(
        "V1",
        "vault_mints",
        {row["vault"]: (row["owner"], row["ours"]) for row in books["vault_mints"]},
        {vault: (owner, truth.ours[vault]) for vault, owner in truth.opened.items()},
    )
    yield from _cursor(truth, books)
    yield from _applied(truth, books)


def _events(truth: Truth, books: Books) -> Iterator[Broken]:
    real = {each.identity: _true_event(each) for each in truth.events}
    said = {each.identity: each.data for each in truth.events}
    ours = {
        _identity(row): _event(row, truth, said.get(_identity(row), {}))
        for row in books["chain_events"]
    }
    yield from same_map("V1", "chain_events", ours, real)


def _identity(row: Row) -> tuple[str, int, int]:
    return row["signature"], row["instruction_index"], row["ordinal"]


def _event(row: Row, truth: Truth, said: Mapping[str, Any]) -> tuple[Any, ...]:
    """An event that a cut log left out says that it was rebuilt. It is the same all the same; but
    of vaults over other tokens no books are kept that would tell what they held.
    """
    names = ("slot", "block_time", "name", "vault", "owner", "commitment")
    data = {name: value for name, value in row["data"].items() if name != "rebuilt"}
    if "rebuilt" in row["data"] and row["vault"] not in truth.counted:
        data |= {name: said.get(name) for name, value in data.items() if value is None}
    return *(row[name] for name in names), data


def _true_event(event: TrueEvent) -> tuple[Any, ...]:
    vault, owner = next(iter(event.vaults), None), event.data.get("owner")
    return event.slot, event.time, event.name, vault, owner, "finalized", dict(event.data)


def _line(row: Row) -> tuple[Any, ...]:
    names = ("owner", "vault", "kind", "amount", "balance_after", "slot", "block_time")
    return *_identity(row), *(row[name] for name in names), row["commitment"]


def _true_line(line: TrueLine) -> tuple[Any, ...]:
    at = line.event
    what = line.owner, line.vault, line.kind, line.amount, line.stated_total
    return *at.identity, *what, at.slot, at.time, "finalized"


def _cursor(truth: Truth, books: Books) -> Iterator[Broken]:
    last, before = ([None, None, *truth.mentions][at] for at in (-1, -2))
    rows = {row["program"]: row for row in books["indexer_cursor"]}
    found = rows.get(truth.program)
    if last is None or found is None:
        if found is not None or last is not None:
            yield Broken("V4", "indexer_cursor", f"{found} instead of {last}")
        return
    place = found["signature"], found["slot"], found["previous_signature"]
    wanted = last[0], last[1], before and before[0]
    if place != wanted:
        yield Broken("V4", "indexer_cursor", f"it is at {place} instead of {wanted}")
    if not last[1] <= (found["through"] or -1) <= truth.tip:
        says = f"complete through {found['through']}, with the last transaction in {last[1]}"
        yield Broken("V4", "indexer_cursor", f"{says} and the chain in {truth.tip}")


def _applied(truth: Truth, books: Books) -> Iterator[Broken]:
    """What a fork could take back is the end of what is applied, and two before it at the least."""
    rows = [(row["signature"], row["slot"]) for row in books["applied"]]
    yield from same_list("V4", "applied", rows, truth.mentions[len(truth.mentions) - len(rows) :])
    if len(rows) < min(2, len(truth.mentions)):
        yield Broken("V4", "applied", f"the cursor could not go back: only {rows}")
    for row in books["applied"]:
        if not row["final"]:
            yield Broken("V4", "applied", f"{row['signature']} is final, and not known to be")
    places = {row["place"] for row in books["applied"]}
    for row in books["applied_before"]:
        if row["place"] not in places:
            yield Broken("V4", "applied_before", f"of nothing that may be taken back: {row}")
