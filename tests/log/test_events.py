"""docs/operations/logs.md has every event that the service logs, and no other one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.paths import ROOT

PAGE = ROOT / "docs/operations/logs.md"
OTHERS = ("bootstrap", "client", "demo", "dev", "localnet")
LEVELS = frozenset({"debug", "info", "warning", "error", "exception"})


def service_nodes() -> Iterator[ast.AST]:
    for file in sorted((ROOT / "cvms").rglob("*.py")):
        if file.relative_to(ROOT).parts[1] not in OTHERS:
            yield from ast.walk(ast.parse(file.read_text()))


def test_every_event_is_explained() -> None:
    texts, logged = set(), set()
    for node in service_nodes():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            of_log = ast.unparse(node.func.value) in {"log", "self._log"}
            name = node.args[0]
            if of_log and node.func.attr in LEVELS and isinstance(name, ast.Constant):
                logged.add(name.value)
    tables = PAGE.read_text().partition("\n## Events\n")[2]
    rows = [line.split("|")[1] for line in tables.splitlines() if line.startswith("| `")]
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert logged - explained == set()
    assert explained - texts == set()
