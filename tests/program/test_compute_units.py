"""The exact compute units of each instruction, as docs/compute_units.md states them.

After a change of the programs, rewrite the document and review the differences:

    CVMS_UPDATE_COMPUTE_UNITS=1 pytest tests/program/test_compute_units.py
"""

import os
import re
from collections.abc import Sequence

from tests.paths import DOCS
from tests.program.deployment.exchange import FIRST
from tests.program.harness.compute_costs import (
    ON_PROGRAMS,
    ON_VAULTS,
    ONCE,
    units,
    units_of_the_authority,
)
from tests.program.harness.full_vault import PROGRAMS
from tests.program.harness.ledger import POSITION_IDL, VAULT_IDL
from tests.program.harness.many_programs import withdraw_with_programs

DOCUMENT = DOCS / "compute_units.md"
HEAD = """\
# Compute units

What each instruction consumes as the only one of its transaction, with the programs in
`cvms/programs/`. A transaction may use 200,000 for each instruction unless it requests more.

The addresses are fixed, because units depend on them: `initialize_vault`, `update_usdt_mint` and a
withdrawal with a summary that was never created search for bumps, at 1,500 units a try.

`tests/program/test_compute_units.py` measures all of this and compares it to the unit. After a
change of the programs, write this document again:

    CVMS_UPDATE_COMPUTE_UNITS=1 pytest tests/program/test_compute_units.py
"""
ON_VAULTS_HEAD = """
## On a vault

One: one entry in each list of the vault, one yield program, one position manager. Full: 64
timelocks, 64 requests, 32 whitelisted wallets, 16 delegates, 10 signers, 64 yield programs.
`withdraw` releases all timelocks and uses up all requests; the yield instructions change the
vault's balances only.

| instruction | one | full |
|---|--:|--:|
"""
ON_PROGRAMS_HEAD = """
## With the authority's lists

As above; full also means 64 authorized programs, of which the position manager is the last. Its
instructions include their call of `lock_collateral`, `unlock_collateral`, `transfer_collateral`.

| instruction | one | full |
|---|--:|--:|
"""
ONCE_HEAD = """
## On new vaults, by governance, and through the yield pool

| instruction | units |
|---|--:|
"""
WITHDRAWALS_HEAD = """
## Withdrawing while several programs are authorized

Each authorized program's summary is an account of the transaction: 26 fit into one, 57 with a
lookup table; with more, the transaction locks too many accounts. The vault's lists are full.

| authorized programs | summaries created | never created |
|--:|--:|--:|
"""
WITHDRAWALS = [(1, False), (8, False), (26, False), (57, True)]  # programs, with a lookup table?


def document() -> str:
    on_vaults = (
        (name, units(order, entries=1), units(order, entries=64))
        for name, order in ON_VAULTS.items()
    )
    on_programs = (
        (name, units(order, entries=1), units(order, entries=64, authorized=PROGRAMS))
        for name, order in ON_PROGRAMS.items()
    )
    once = ((name, units(order, entries=1)) for name, order in ONCE.items())
    withdrawals = (
        (
            count,
            withdraw_with_programs(count, created=True, table=table).units(),
            withdraw_with_programs(count, created=False, table=table).units(),
        )
        for count, table in WITHDRAWALS
    )
    return "".join(
        [
            HEAD,
            ON_VAULTS_HEAD,
            *map(row, on_vaults),
            ON_PROGRAMS_HEAD,
            *map(row, on_programs),
            ONCE_HEAD,
            row(("initialize_vault_authority", units_of_the_authority())),
            *map(row, once),
            WITHDRAWALS_HEAD,
            *map(row, withdrawals),
        ]
    )


def row(cells: Sequence[str | int]) -> str:
    texts = (f"{cell:,}" if isinstance(cell, int) else cell for cell in cells)
    return f"| {' | '.join(texts)} |\n"


def test_every_instruction_costs_what_the_document_says() -> None:
    written = document()
    if os.environ.get("CVMS_UPDATE_COMPUTE_UNITS"):
        DOCUMENT.write_text(written)
    assert written == DOCUMENT.read_text()


def test_every_instruction_is_measured() -> None:
    """Calls that only a program may make are measured as part of the position manager's."""
    called = {"lock_collateral", "unlock_collateral", "transfer_collateral"}
    rows = {*ON_VAULTS, *ON_PROGRAMS, *ONCE, "initialize_vault_authority"}
    assert rows >= (VAULT_IDL.instructions.keys() | POSITION_IDL.instructions.keys()) - called


def test_deposits_and_withdrawals_are_cheap() -> None:
    """Measured on a vault with one entry in each list and one position summary."""
    assert units(ON_VAULTS["deposit"], entries=1) <= 8_000
    assert units(ON_VAULTS["withdraw"], entries=1) <= 15_000


# The price of an event, which these did not emit in the first release: 100 units for the call,
# 100 for its field, one for each byte, and the writing of those bytes.
NEW_EVENTS = {
    "add_delegate": 400,
    "remove_delegate": 400,
    "set_vault_multisig": 550,
    "disable_vault_multisig": 450,
    "add_yield_program": 300,
    "remove_yield_program": 300,
    "set_risk_level": 240,
}


def test_no_instruction_costs_a_tenth_more_than_in_the_first_release() -> None:
    first, now = table((FIRST / "compute_units.md").read_text()), table(DOCUMENT.read_text())
    assert first.keys() <= now.keys()
    dearer = {
        name: (before, after)
        for name, costs in first.items()
        for before, after in zip(costs, now[name], strict=True)
        if after > before * 1.1 + NEW_EVENTS.get(name, 0)
    }
    assert dearer == {}


def table(document: str) -> dict[str, list[int]]:
    """Return the figures of each row."""
    rows = [line.strip("| ").split(" | ") for line in document.splitlines()]
    return {
        name: [int(cell.replace(",", "")) for cell in cells]
        for name, *cells in rows
        if cells and all(re.fullmatch(r"[\d,]+", cell) for cell in cells)
    }
