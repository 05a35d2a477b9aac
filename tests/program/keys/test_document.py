"""docs/security.md names a test for each cell, and alerts that exist."""

import re

from tests.paths import DOCS, ROOT

from .document import CELLS, COSTS, TESTS, TEXT, cited
from .test_keys import ACTS, KEYS


def test_every_cell_names_a_test() -> None:
    assert [where for where, cell in CELLS.items() if not cited(cell)] == []
    at_once = {key: cell for (key, column), cell in COSTS.items() if column == "at once"}
    assert [key for key, cell in at_once.items() if not cited(cell)] == []


def test_every_number_is_that_of_a_test_and_every_test_is_named() -> None:
    assert [*TESTS] == [str(number) for number in range(1, len(TESTS) + 1)]
    assert {*cited(TEXT)} == TESTS.keys()


def test_every_test_exists() -> None:
    for test in TESTS.values():
        file, name = test.split("::")
        source = (ROOT / file).read_text()
        assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), test


def test_every_key_and_act_that_is_tried_has_its_cell() -> None:
    assert {(key, act) for key in KEYS for act in ACTS} <= CELLS.keys()
    keys = {key for key, _ in CELLS}
    assert len(CELLS) == len(keys) * (len(ACTS) + 1)  # and who replaces code
    others = {"an authorized program", "a listed yield program", "an administrator's token"}
    assert keys == {*KEYS} | others


def test_every_alert_exists() -> None:
    kinds = set(re.findall(r"^\| `(\w+)` \|", (DOCS / "alerts.md").read_text(), re.MULTILINE))
    named = {
        kind
        for (_, column), cell in COSTS.items()
        if column == "notices"
        for kind in re.findall(r"`(\w+)`", cell)
    }
    assert named
    assert named <= kinds
