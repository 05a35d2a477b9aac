"""The alerting rules of `deploy/monitoring/`, as Prometheus reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.paths import ROOT

MONITORING = ROOT / "deploy" / "monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yml"))
RULE_TESTS = sorted((MONITORING / "rule-tests").glob("*.yml"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """One alerting rule. Several may have one name, with different severities."""

    name: str
    expression: str
    severity: str
    annotations: dict[str, str]

    @property
    def page(self) -> str:
        """Return the file name of its runbook: its name in kebab-case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", self.name).lower() + ".md"


def alert_rules() -> list[AlertRule]:
    """Return all alerting rules."""
    return [
        AlertRule(
            name=rule["alert"],
            expression=rule["expr"],
            severity=rule["labels"]["severity"],
            annotations=rule["annotations"],
        )
        for rule in _rules()
        if "alert" in rule
    ]


def expressions() -> Iterator[str]:
    """Yield the expression of each rule, alerting or recording."""
    for rule in _rules():
        yield rule["expr"]


def recorded() -> set[str]:
    """Return the names of the series that rules record."""
    return {rule["record"] for rule in _rules() if "record" in rule}


def _rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]
