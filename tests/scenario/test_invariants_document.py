"""docs/invariants.md names tests that exist, for every invariant that the scenarios check."""

from __future__ import annotations

import re

import pytest

from tests.paths import ROOT
from tests.scenario.damage import DAMAGE

TEXT = (ROOT / "docs" / "invariants.md").read_text()
SECTIONS = dict(re.findall(r"^## (V\d+)\n(.*?)(?=^## )", TEXT, re.MULTILINE | re.DOTALL))
INVARIANTS = [f"V{number}" for number in range(1, 14)]


def named_tests(text: str) -> list[tuple[str, str]]:
    """Return the file and function of each test. `::name` alone refers to the file before it."""
    found, file = [], ""
    for path, name in re.findall(r"`(tests/[\w/]+\.py)?::(\w+)`", text):
        file = path or file
        found.append((file, name))
    return found


@pytest.mark.parametrize("invariant", INVARIANTS)
def test_each_invariant_says_why_it_holds_and_what_would_show_it(invariant: str) -> None:
    section = SECTIONS[invariant]
    assert section.startswith("**")
    assert named_tests(section)


def test_every_test_it_names_exists() -> None:
    named = named_tests(TEXT)
    assert len(named) == TEXT.count("::")
    for file, name in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), (
            f"{file} has no {name}"
        )


def test_what_is_checked_is_explained() -> None:
    assert {invariant for invariant, _, _ in DAMAGE} <= set(INVARIANTS)
