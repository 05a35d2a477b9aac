"""Each alert has its page, and what a page names exists."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from tests.runbooks import pages
from tests.runbooks.pages import HEADINGS, INDEX, PAGES


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert {path.name for path in PAGES} == pages.expected_pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_its_headings_and_names_its_alerts(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    name = path.stem.replace("-", "_")
    assert {re.sub(r"(?<!^)(?=[A-Z])", "_", each).lower() for each in pages.named_alerts(path)} == {
        name
    }
    assert f"]({path.name})" in INDEX.read_text()
    assert len(text.splitlines()) <= 50


def test_every_statement_is_one_of_this_database(database_url: str) -> None:
    found = [each for path in PAGES for each in pages.statements(path)]
    with psycopg.connect(database_url) as conn:
        for statement in found:
            conn.execute(f"EXPLAIN {statement}".encode())
    assert len(found) > 10
