"""docs/programs.md covers the whole interface of the programs."""

from __future__ import annotations

import re

import pytest

from cvms.chain.types import POSITION_MANAGER_PROGRAM, USDT_MINT, VAULT_PROGRAM, YIELD_POOL_PROGRAM
from tests.chain.program.idl_borsh import fields_of, idl, instruction_of
from tests.paths import DOCS

DOCUMENT = (DOCS / "programs.md").read_text()
COMMON, YIELD_POOL = DOCUMENT.split("### The yield pool\n")
PARTS = {"collateral_vault": COMMON, "position_manager": COMMON, "yield_pool": YIELD_POOL}
PROGRAMS = tuple(PARTS)


def rows_of(program: str, name: str) -> list[str]:
    """Return the table rows of the program's part whose first cell contains this name."""
    rows = [line for line in PARTS[program].splitlines() if line.startswith("|")]
    return [row for row in rows if f"`{name}`" in row.split("|")[1]]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_instruction_and_account_has_its_row(program: str) -> None:
    for entry in [*idl(program)["instructions"], *idl(program)["accounts"]]:
        assert len(rows_of(program, entry["name"])) == 1, entry["name"]


@pytest.mark.parametrize(("program", "count"), [("collateral_vault", 44), ("yield_pool", 7)])
def test_every_event_has_its_row_with_its_fields(program: str, count: int) -> None:
    described = idl(program)
    assert len(described["events"]) == count
    for event in described["events"]:
        [row] = rows_of(program, event["name"])
        fields = [field["name"] for field in fields_of(described, event["name"])]
        assert row.split("|")[2].strip() == ", ".join(fields), event["name"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_error_has_its_code(program: str) -> None:
    rows = re.findall(r"\| (6\d+) \| `(\w+)`", PARTS[program])
    documented = {(int(code), name) for code, name in rows}
    errors = {(each["code"], each["name"]) for each in idl(program)["errors"]}
    if program == "position_manager":  # whose table is the beginning of the vault program's
        documented = {(code, name) for code, name in documented if code <= 6016}
    assert documented == errors


def test_the_yield_pools_accounts_are_named_in_their_order() -> None:
    for name in ("deposit", "withdraw", "claim"):
        accounts = instruction_of(idl("yield_pool"), name)["accounts"]
        assert ", ".join(f"`{account['name']}`" for account in accounts) in YIELD_POOL


def test_the_ids_are_those_of_the_settings() -> None:
    for address in (VAULT_PROGRAM, POSITION_MANAGER_PROGRAM, YIELD_POOL_PROGRAM, USDT_MINT):
        assert address in DOCUMENT
