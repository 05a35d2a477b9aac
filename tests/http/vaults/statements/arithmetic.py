"""What a statement must satisfy by itself, whatever it is of."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from typing import Any

Json = dict[str, Any]

BALANCES = ("total", "available", "locked", "timelocked", "yield_deposited")
SAFE_CELL = re.compile(r"-?[0-9]+|[0-9TZ:.-]+|[a-z_]+|[1-9A-HJ-NP-Za-km-z]+|")


def balances(of: Json) -> dict[str, int]:
    return {name: int(of[name]) for name in BALANCES}


def assert_adds_up(statement: Json) -> None:
    """Opening and all changes make the closing, line by line, in the sums and by kind."""
    now = balances(statement["opening"])
    kinds: Counter[str] = Counter()
    for line in statement["lines"]:
        assert statement["from_slot"] <= line["slot"] < statement["to_slot"]
        now = {name: now[name] + line["change"][name] for name in BALANCES}
        assert now == balances(line["balances"])
        kinds[line["kind"]] += line["amount"]
    assert now == balances(statement["closing"])
    assert now["total"] == sum(now.values()) - now["total"]
    assert kinds == {flow["kind"]: flow["amount"] for flow in statement["flows"]}
    for name in BALANCES:
        grown = sum(flow["change"][name] for flow in statement["flows"])
        assert statement["opening"][name] + grown == statement["closing"][name]
    assert [line["slot"] for line in statement["lines"]] == sorted(
        line["slot"] for line in statement["lines"]
    )


def read_csv(text: str) -> list[dict[str, str]]:
    """Return the rows; no cell is a formula, and every line ends as RFC 4180 says."""
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r\n")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    cells = {cell for row in rows for cell in row.values()}
    assert [cell for cell in cells if not SAFE_CELL.fullmatch(cell)] == []
    return rows


def assert_csv_adds_up(text: str) -> list[dict[str, str]]:
    """As `assert_adds_up`; return the rows without the first and the last."""
    opening, *lines, closing = read_csv(text)
    assert opening["kind"] == "opening"
    assert closing["kind"] in {"closing", "closing_so_far"}
    now = balances(opening)
    for line in lines:
        now = {name: now[name] + int(line[f"{name}_change"]) for name in BALANCES}
        assert now == balances(line)
    assert now == balances(closing)
    return lines
