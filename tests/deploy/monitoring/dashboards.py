"""The committed dashboards, as Grafana imports them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.monitoring.rules import MONITORING

FILES = sorted((MONITORING / "dashboards").glob("*.json"))
STAND_INS = {"$job": "cvms", "$__rate_interval": "20s"}
"""What Grafana puts in for its variables."""


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """One query of a panel."""

    panel: str
    expression: str


def panels(path: Path) -> list[dict[str, Any]]:
    """Return the panels of a dashboard, without the rows."""
    document: dict[str, Any] = json.loads(path.read_text())
    return [each for each in document["panels"] if each["type"] != "row"]


def panel_queries() -> Iterator[PanelQuery]:
    """Yield every query, with the variables filled in."""
    for path in FILES:
        for panel in panels(path):
            for target in panel["targets"]:
                expression = target["expr"]
                for variable, value in STAND_INS.items():
                    expression = expression.replace(variable, value)
                yield PanelQuery(f"{path.stem}: {panel['title']}", expression)
