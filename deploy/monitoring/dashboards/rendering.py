"""What a dashboard is made of, and its JSON as Grafana imports it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

SOURCE = DataSourceRef(type_val="prometheus", uid="$source")
HEIGHT, WIDTH, STAT_WIDTH = 7, 8, 4
"""Grafana's grid is 24 wide."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query and how its lines are named, such as `{{task}}`."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Lines over time. `unit` is one of Grafana's."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]


@dataclass(frozen=True, slots=True)
class Number:
    """The newest value, in large."""

    title: str
    description: str
    unit: str
    query: str


@dataclass(frozen=True, slots=True)
class Section:
    """A row of panels under a title, which is a question that they answer."""

    title: str
    panels: Sequence[Graph | Number]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. `name` is that of its file and its identity."""

    name: str
    title: str
    description: str
    sections: Sequence[Section]


def render(board: Board) -> str:
    """Return the dashboard's JSON."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(f"cvms-{board.name}")
        .description(board.description)
        .tags(["cvms"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("utc")
        .with_variable(dashboard.DatasourceVariable("source").label("source").type("prometheus"))
        .with_variable(_jobs())
    )
    for section in board.sections:
        built = built.with_row(dashboard.Row(section.title))
        for panel in section.panels:
            built = built.with_panel(_graph(panel) if isinstance(panel, Graph) else _stat(panel))
    encoded = json.loads(JSONEncoder().encode(built.build()))
    return json.dumps(encoded, indent=1, sort_keys=True) + "\n"


def _jobs() -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable("job")
        .label("job")
        .datasource(SOURCE)
        .query("label_values(cvms_build_info, job)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )


def _graph(graph: Graph) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
    )
    panel = (
        timeseries.Panel()
        .title(graph.title)
        .description(graph.description)
        .unit(graph.unit)
        .datasource(SOURCE)
        .legend(legend)
        .height(HEIGHT)
        .span(WIDTH)
    )
    for number, query in enumerate(graph.queries):
        panel = panel.with_target(
            prometheus.Dataquery()
            .ref_id(chr(ord("A") + number))
            .expr(query.expression)
            .legend_format(query.legend)
        )
    return panel


def _stat(number: Number) -> stat.Panel:
    return (
        stat.Panel()
        .title(number.title)
        .description(number.description)
        .unit(number.unit)
        .datasource(SOURCE)
        .height(HEIGHT - 3)
        .span(STAT_WIDTH)
        .with_target(prometheus.Dataquery().ref_id("A").expr(number.query).instant())
    )
