"""V2 and V3: the rows of vaults equal their accounts, now and at each earlier slot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.scenario.checks import Violation, same_map
from tests.scenario.tables import Row, Tables
from tests.scenario.truth import Holding, Truth

BIGINT_MAX = 2**63 - 1
BALANCES = ("total", "available", "locked", "timelocked", "yield_deposited")
CLOSED = {"closed": True}


def check_vaults(truth: Truth, tables: Tables) -> Iterator[Violation]:
    """Check the rows, their history, and that the reconciler had nothing to correct."""
    yield from _rows(truth, tables)
    yield from _covered(truth, tables)
    yield from _points(truth, tables)
    for row in tables["reconciliation_logs"]:
        if row["healed"] and row["row_slot"] in truth.dropped:
            continue  # read ahead of its events in a dropped block, and corrected first here
        named = ("owner", "field", "expected", "actual", "chain_slot", "row_slot", "cause")
        fields = ", ".join(f"{name} {row[name]}" for name in named)
        yield Violation("V2", "reconciliation_logs", f"tables and chain differed: {fields}")


def _rows(truth: Truth, tables: Tables) -> Iterator[Violation]:
    rows = {row["vault"]: row for row in tables["vaults"]}
    real = {vault: _account(truth, vault) for vault in truth.ever_held_our_mint}
    ours = {vault: _row(row, real.get(vault)) for vault, row in rows.items()}
    yield from same_map("V2", "vaults", ours, real)
    for vault in rows.keys() & truth.touched.keys():
        slot = rows[vault]["slot"]
        if not truth.touched[vault] <= slot <= truth.tip:
            message = f"{vault} as of slot {slot}, though it changed in {truth.touched[vault]}"
            yield Violation("V2", "vaults", message)


def _account(truth: Truth, vault: str) -> dict[str, Any]:
    """Return the row that a vault should have, without its slot."""
    account = truth.accounts[vault]
    if account is None or not truth.holds_our_mint[vault]:
        zero = dict.fromkeys(BALANCES, 0)
        closed: dict[str, Any] = {"multisig_threshold": 0, "delegates": [], "state": CLOSED}
        return {"owner": truth.opened[vault], **zero, **closed}
    timelocked = sum(entry["amount"] for entry in account["timelocks"])
    return {
        "owner": account["owner"],
        "total": account["total_balance"],
        "available": account["available_balance"],
        "locked": account["locked_balance"],
        "timelocked": timelocked,
        "yield_deposited": account["yield_deposited_balance"],
        "multisig_threshold": account["multisig_threshold"],
        "delegates": account["delegates"],
        "state": {
            name: value
            for name, value in account.items()
            if name not in {"_reserved", "yield_kept"}
        },
        "token_account": account["token_account"],
        "mint": account["usdt_mint"],
        "total_deposited": min(account["total_deposited"], BIGINT_MAX),
        "total_withdrawn": min(account["total_withdrawn"], BIGINT_MAX),
    }


def _row(row: Row, real: dict[str, Any] | None) -> dict[str, Any]:
    """Return those fields of a row that its account determines."""
    return {name: row[name] for name in (real or row)}


def _covered(truth: Truth, tables: Tables) -> Iterator[Violation]:
    for row in tables["vaults"]:
        parts = row["available"] + row["locked"] + row["timelocked"] + row["yield_deposited"]
        if row["total"] != parts:
            message = f"{row['owner']}: the total is {row['total']}, the sum of its parts {parts}"
            yield Violation("V3", "vaults", message)
        tokens = truth.tokens.get(row["vault"], 0)
        if tokens < row["total"] - row["yield_deposited"]:
            yield Violation("V3", "vaults", f"{row['owner']}: {row['total']}, but {tokens} tokens")


def _points(truth: Truth, tables: Tables) -> Iterator[Violation]:
    """Check that each point is true, and that one is valid in each slot with a change."""
    points: dict[str, dict[int, Row]] = {}
    for row in tables["balance_history"]:
        points.setdefault(row["owner"], {})[row["slot"]] = row
    for owner, by_slot in points.items():
        for slot, row in by_slot.items():
            yield from _point(owner, slot, row, truth.holding_at(owner, slot))
    for owner, moved in truth.holdings.items():
        by_slot = points.get(owner, {})
        for slot, holding in moved.items():
            last = max((at for at in by_slot if at <= slot), default=None)
            if last is None or last < slot:
                yield from _point(owner, slot, None if last is None else by_slot[last], holding)


def _point(owner: str, slot: int, row: Row | None, real: Holding) -> Iterator[Violation]:
    ours = tuple(row[name] for name in BALANCES) if row else None
    expected = real.total, real.available, real.locked, real.timelocked, real.yield_deposited
    if ours != expected:
        yield Violation("V2", "balance_history", f"{owner} in slot {slot}: {ours}, not {expected}")
