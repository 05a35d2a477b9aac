"""docs/operations/check.md and docs/alerts.md name every check, kind of trouble and alert."""

from __future__ import annotations

import re

from cvms.nursery.alerts.rules import RESOLVE_AFTER
from tests.paths import ROOT

SOURCES = "".join(path.read_text() for path in sorted((ROOT / "cvms/checks").glob("*.py")))
CHECK = re.compile(
    r'(?:(?:ok|warning|failure)\(\s*|check = |check, \w+ = )"(\w+)"',
)
KIND = re.compile(r'kind="(\w+)"|, "(upgrade_authority_is_\w+)"')


def test_every_check_is_described() -> None:
    page = (ROOT / "docs/operations/check.md").read_text()
    checks = set(CHECK.findall(SOURCES)) - {"chain_of_database"}
    assert len(checks) > 30
    assert {each for each in checks if f"`{each}`" not in page} == set()


def test_every_kind_is_described_and_every_alert_ends() -> None:
    interface = (ROOT / "docs/http.md").read_text()
    alerts = (ROOT / "docs/alerts.md").read_text()
    ends_the_start = {"another_chain", "another_schema", "changed_schema", "newer_schema"}
    kinds = {one or other for one, other in KIND.findall(SOURCES)} - ends_the_start
    assert len(kinds) > 10
    troubles = {each for each in kinds if f"`{each}`" in interface}
    dangers = {each for each in kinds if f"`{each}`" in alerts}
    assert kinds == troubles | dangers
    assert dangers <= set(RESOLVE_AFTER)
