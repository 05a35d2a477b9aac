"""What the documents refer to is there: files in the tree, and links between documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "program" / "README.md"]
)

# `cvms/http/app.py`, `docs/adr/`, `tests/program/yields.py`
NAMED = re.compile(r"`((?:cvms|tests|docs|bench|deploy|program|\.ci)/[\w./-]*)`")
LINKED = re.compile(r"\]\(([^)\s#]+)?(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

# Written by a build, and not committed.
BUILT = ("program/target/",)


def anchor(heading: str) -> str:
    """Return the anchor that forges give a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


def missing(document: Path) -> Iterator[str]:
    text = (ROOT / document).read_text()
    for name in NAMED.findall(text):
        if name not in BUILT and not (ROOT / name).exists():
            yield name
    for target, fragment in LINKED.findall(text):
        if target.startswith(("http://", "https://")):
            continue
        path = (ROOT / document).parent / target if target else ROOT / document
        if not path.exists():
            yield target
        elif fragment and fragment not in map(anchor, HEADING.findall(path.read_text())):
            yield f"{target}#{fragment}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_what_a_document_refers_to_exists(document: Path) -> None:
    assert list(missing(document)) == []
