"""V2 and V3: the vaults' rows are their accounts, now and at each slot before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.scenario.books import Books, Row
from tests.scenario.checks import Broken, same_map
from tests.scenario.truth import Holding, Truth

MOST = 2**63 - 1
BALANCES = ("total", "available", "locked", "timelocked", "yield_deposited")
CLOSED = {"closed": True}


def vaults(truth: Truth, books: Books) -> Iterator[Broken]:
    """The rows, what they held before, and that nothing had to be set right."""
    yield from _rows(truth, books)
    yield from _covered(truth, books)
    yield from _points(truth, books)
    for row in books["reconciliation_logs"]:
        if row["healed"] and row["row_slot"] in truth.dropped:
            continue  # it was read there, ahead of its events, and the reconciler looked first
        named = ("owner", "field", "expected", "actual", "chain_slot", "row_slot", "cause")
        says = ", ".join(f"{name} {row[name]}" for name in named)
        yield Broken("V2", "reconciliation_logs", f"books and chain differed: {says}")


def _rows(truth: Truth, books: Books) -> Iterator[Broken]:
    rows = {row["vault"]: row for row in books["vaults"]}
    real = {vault: _account(truth, vault) for vault in truth.counted}
    held = {vault: _row(row, real.get(vault)) for vault, row in rows.items()}
    yield from same_map("V2", "vaults", held, real)
    for vault in rows.keys() & truth.touched.keys():
        slot = rows[vault]["slot"]
        if not truth.touched[vault] <= slot <= truth.tip:
            says = f"{vault} as of slot {slot}, though it moved in {truth.touched[vault]}"
            yield Broken("V2", "vaults", says)


def _account(truth: Truth, vault: str) -> dict[str, Any]:
    """The row that a vault should have, without its slot."""
    account = truth.accounts[vault]
    if account is None or not truth.ours[vault]:
        nothing = dict.fromkeys(BALANCES, 0)
        closed: dict[str, Any] = {"multisig_threshold": 0, "delegates": [], "state": CLOSED}
        return {"owner": truth.opened[vault], **nothing, **closed}
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
        "state": {name: value for name, value in account.items() if name != "_reserved"},
        "token_account": account["token_account"],
        "mint": account["usdt_mint"],
        "total_deposited": min(account["total_deposited"], MOST),
        "total_withdrawn": min(account["total_withdrawn"], MOST),
    }


def _row(row: Row, real: dict[str, Any] | None) -> dict[str, Any]:
    """Of a row what its account tells."""
    return {name: row[name] for name in (real or row)}


def _covered(truth: Truth, books: Books) -> Iterator[Broken]:
    for row in books["vaults"]:
        parts = row["available"] + row["locked"] + row["timelocked"] + row["yield_deposited"]
        if row["total"] != parts:
            yield Broken("V3", "vaults", f"{row['owner']}: {row['total']} in all, {parts} in parts")
        tokens = truth.tokens.get(row["vault"], 0)
        if tokens < row["total"] - row["yield_deposited"]:
            yield Broken("V3", "vaults", f"{row['owner']}: {row['total']}, but {tokens} tokens")


def _points(truth: Truth, books: Books) -> Iterator[Broken]:
    """Each point says what was so; and one holds in each slot in which a vault moved."""
    points: dict[str, dict[int, Row]] = {}
    for row in books["balance_history"]:
        points.setdefault(row["owner"], {})[row["slot"]] = row
    for owner, of_owner in points.items():
        for slot, row in of_owner.items():
            yield from _point(owner, slot, row, truth.held(owner, slot))
    for owner, moved in truth.holdings.items():
        of_owner = points.get(owner, {})
        for slot, holding in moved.items():
            last = max((each for each in of_owner if each <= slot), default=None)
            if last is None or last < slot:
                yield from _point(owner, slot, None if last is None else of_owner[last], holding)


def _point(owner: str, slot: int, row: Row | None, real: Holding) -> Iterator[Broken]:
    ours = tuple(row[name] for name in BALANCES) if row else None
    wanted = real.total, real.available, real.locked, real.timelocked, real.earning
    if ours != wanted:
        yield Broken("V2", "balance_history", f"{owner} in slot {slot}: {ours}, not {wanted}")
