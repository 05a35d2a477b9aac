"""docs/programs.md leaves out nothing of the programs' interface."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cvms.config import (
    POSITION_MANAGER_PROGRAM,
    USDT_MINT,
    VAULT_PROGRAM,
    YIELD_POOL_PROGRAM,
)
from tests.chain.idl_borsh import fields_of, idl

DOCUMENT = (Path(__file__).parents[2] / "docs" / "programs.md").read_text()
ROWS = [line for line in DOCUMENT.splitlines() if line.startswith("|")]
PROGRAMS = ("collateral_vault", "position_manager")


def rows_of(name: str) -> list[str]:
    """The table rows that begin with this name, alone or among others."""
    return [row for row in ROWS if f"`{name}`" in row.split("|")[1]]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_instruction_and_account_has_its_row(program: str) -> None:
    for entry in [*idl(program)["instructions"], *idl(program)["accounts"]]:
        assert len(rows_of(entry["name"])) == 1, entry["name"]


def test_every_event_has_its_row_with_its_fields() -> None:
    program = idl("collateral_vault")
    assert len(program["events"]) == 23
    for event in program["events"]:
        [row] = rows_of(event["name"])
        fields = [field["name"] for field in fields_of(program, event["name"])]
        assert row.split("|")[2].strip() == ", ".join(fields), event["name"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_error_has_its_code(program: str) -> None:
    documented = {(int(code), name) for code, name in re.findall(r"\| (6\d+) \| `(\w+)`", DOCUMENT)}
    assert documented == {(each["code"], each["name"]) for each in idl(program)["errors"]}


def test_the_ids_are_those_of_the_settings() -> None:
    for address in (VAULT_PROGRAM, POSITION_MANAGER_PROGRAM, YIELD_POOL_PROGRAM, USDT_MINT):
        assert address in DOCUMENT
