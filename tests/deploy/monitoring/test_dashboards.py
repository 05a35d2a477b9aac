"""The committed JSON of each dashboard is what its code gives, and Grafana can import it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.monitoring.dashboards.__main__ import BOARDS
from deploy.monitoring.dashboards.rendering import Board, render
from tests.deploy.monitoring.dashboards import FILES, panels
from tests.deploy.monitoring.rules import MONITORING


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_json_is_what_the_code_gives(board: Board) -> None:
    path = MONITORING / "dashboards" / f"{board.name}.json"
    assert path.read_text() == render(board), "run make dashboards"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_panels_have_a_title_a_description_a_place_and_one_data_source(path: Path) -> None:
    places = []
    for panel in panels(path):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["datasource"] == {"type": "prometheus", "uid": "$source"}
        assert all('job="$job"' in target["expr"] for target in panel["targets"]), panel["title"]
        places.append(tuple(panel["gridPos"][side] for side in "xywh"))
    assert len(places) == len(set(places))
    assert all(x + width <= 24 for x, _, width, _ in places)


def test_dashboards_have_identities_of_their_own_and_load_nothing_else() -> None:
    documents = [json.loads(path.read_text()) for path in FILES]
    assert {document["uid"] for document in documents} == {f"cvms-{board.name}" for board in BOARDS}
    assert not any("://" in path.read_text() for path in FILES)
