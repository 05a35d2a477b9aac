"""The pages of `docs/runbooks/`: their alerts, commands, routes, metrics and statements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cvms.nursery.alerts.rules import RESOLVE_AFTER
from tests.deploy.monitoring.rules import alert_rules
from tests.paths import DOCS

RUNBOOKS = DOCS / "runbooks"
INDEX = RUNBOOKS / "README.md"
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path != INDEX)
HEADINGS = [
    "What it means",
    "What users feel",
    "What to look at",
    "What to press",
    "Whom to wake",
]

_COMMANDS = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PRESSED = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_KIND = re.compile(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \|", re.MULTILINE)
_STATEMENT = re.compile(r'psql "\$DATABASE_URL" -c "([^"]*)"')
_WAITS = re.compile(r"PID|^ALTER")
_QUERY = re.compile(r"promtool query instant \"\$PROMETHEUS_URL\" '([^']*)'")
_METRIC = re.compile(r"\b(?:cvms|process|job:cvms)_[\w:]+|\bup\b")


def kinds() -> set[str]:
    """Return the kinds of alerts that the service raises: of its code, and of its document."""
    documented = _KIND.findall((DOCS / "alerts.md").read_text())
    return set(RESOLVE_AFTER) | {
        kind.strip(" `") for row in documented for kind in row.split(",") if "_" in kind
    }


def expected_pages() -> set[str]:
    """Return the file names of the pages that there must be."""
    return {rule.page for rule in alert_rules()} | {
        f"{kind.replace('_', '-')}.md" for kind in kinds()
    }


def named_alerts(path: Path) -> set[str]:
    """Return the alerts that a page says to be about."""
    line = re.search(r"^Alert: (.*)\.$", path.read_text(), re.MULTILINE)
    return set() if line is None else set(re.findall(r"`(\w+)`", line[1]))


def commands(path: Path) -> str:
    """Return all commands of a page."""
    return "\n".join(_COMMANDS.findall(path.read_text()))


def commands_to_press(page: str) -> list[str]:
    """Return the commands of a page that need a value, or another machine, to be run."""
    blocks = _PRESSED.findall((RUNBOOKS / f"{page}.md").read_text())
    return [line for block in blocks for line in block.splitlines()]


def routes(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the method and the path of each request to the service, without its query."""
    for line in commands(path).splitlines():
        for called in re.findall(r'"\$CVMS_URL([^"?]*)', line):
            yield ("post" if "-X POST" in line else "get"), called


def statements(path: Path) -> list[str]:
    """Return the SQL statements of a page that read, and whose values are all there."""
    return [each for each in _STATEMENT.findall(commands(path)) if not _WAITS.search(each)]


def queries(path: Path) -> list[str]:
    """Return the queries to Prometheus of a page."""
    return _QUERY.findall(commands(path))


def metrics(query: str) -> set[str]:
    """Return the names of the metrics in a query, those of histograms without their suffix."""
    return set(_METRIC.findall(re.sub(r'"[^"]*"', '""', query)))
