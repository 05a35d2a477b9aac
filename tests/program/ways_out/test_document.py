"""The table of ways out in docs/programs.md names tests of this folder."""

import re
from pathlib import Path

from tests.paths import DOCS


def test_each_way_out_names_its_test() -> None:
    text = (DOCS / "programs.md").read_text()
    _, section = text.split("\n## Ways out\n")
    rows = [row for row in section.split("\n## ")[0].splitlines() if row.startswith("| ")]
    named = [row.rsplit("|", 2)[1].strip(" `") for row in rows[1:]]
    sources = "".join(each.read_text() for each in Path(__file__).parent.glob("test_*.py"))
    assert len(named) > 5
    assert set(named) <= set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE))
