"""docs/security.md: its tables, and the tests that it names."""

import re

from tests.paths import DOCS

TEXT = (DOCS / "security.md").read_text()
_, _TABLES, _COSTS = re.split(r"\n## (?:Who can do what|What each leaked key costs)\n", TEXT)


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _cells(text: str) -> dict[tuple[str, str], str]:
    """Return the cells of a table by row and column."""
    (_, *columns), _, *rows = _rows(text)
    return {
        (key, column): cell
        for key, *cells in rows
        for column, cell in zip(columns, cells, strict=True)
    }


_VAULT, _EXCHANGE = _TABLES.split("\n### With the exchange\n")
CELLS = _cells(_VAULT) | _cells(_EXCHANGE)
"""Who can do what, by key and act."""
COSTS = _cells(_COSTS.split("\n## ")[0])
"""What a leaked key costs, by key and column."""
TESTS = dict(re.findall(r"^(\d+)\. `(tests/\S+)`$", TEXT, re.MULTILINE))
"""Each test as `file::name`, by its number."""


def cited(text: str) -> list[str]:
    """Return the numbers of the tests in a text, as in `(1, 12)`."""
    return [each for part in re.findall(r"\((\d+(?:, \d+)*)\)", text) for each in part.split(", ")]
