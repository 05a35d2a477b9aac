"""Tests of the checks: a change to one row is reported with its invariant and its table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import trio

from tests.harness.processes import ServerForker
from tests.postgres_server import BLANK, new_database
from tests.scenario.clients import IGNORE_HTTPX_WARNING
from tests.scenario.context import connect, scenario_context
from tests.scenario.damage import DAMAGE
from tests.scenario.invariants import check_invariants
from tests.scenario.scenario_runner import Outcome, Scenario, run_scenario
from tests.scenario.tables import TABLES, Tables, read_tables
from tests.scenario.truth import Truth

Connection = psycopg.Connection[tuple[object, ...]]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(IGNORE_HTTPX_WARNING)]


@pytest.fixture
def finished(
    forker: ServerForker, postgres_server: str, tmp_path: Path
) -> Iterator[tuple[Truth, Connection]]:
    """The expected state after a scenario, and a connection to its database."""
    with new_database(postgres_server, BLANK) as url:
        outcome = trio.run(_run, forker, url, tmp_path)
        assert not outcome.violations, "\n".join(map(str, outcome.violations))
        with connect(url) as connection:
            yield outcome.truth, connection


async def _run(forker: ServerForker, url: str, folder: Path) -> Outcome:
    async with scenario_context(forker, folder, url) as context:
        return await run_scenario(context, Scenario(seed=1, actions=200, kills=1))


def test_a_damaged_row_is_reported(
    finished: tuple[Truth, Connection], subtests: pytest.Subtests
) -> None:
    truth, connection = finished
    with connection.transaction():
        assert check_invariants(truth, read_tables(connection)) == []
    for number, (invariant, table, damage) in enumerate(DAMAGE):
        with subtests.test(f"{number}-{table}"):
            before, after = _damaged(connection, damage)
            assert before != after, "nothing was damaged: the scenario left no such row"
            reported = {(found.invariant, found.table) for found in check_invariants(truth, after)}
            assert (invariant, table) in reported


def test_every_table_that_is_read_is_damaged() -> None:
    assert {table for _, table, _ in DAMAGE} == set(TABLES)


def _damaged(connection: Connection, damage: str) -> tuple[Tables, Tables]:
    """Return the tables before and after the damage, which is rolled back."""
    with connection.transaction(force_rollback=True):
        before = read_tables(connection)
        connection.execute(damage.encode())
        return before, read_tables(connection)
