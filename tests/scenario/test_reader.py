"""The judge is judged: one row of any table changed, and it names the invariant and the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import trio

from tests.postgres_server import BLANK, new_database
from tests.scenario.books import ORDER, Books, read_books
from tests.scenario.clients import LEFT_BY_HTTPX
from tests.scenario.damage import DAMAGE
from tests.scenario.invariants import check_invariants
from tests.scenario.play import Outcome, Script, play
from tests.scenario.scene import connect, scene
from tests.scenario.servers import Zygote
from tests.scenario.truth import Truth

Connection = psycopg.Connection[tuple[object, ...]]

pytestmark = pytest.mark.filterwarnings(LEFT_BY_HTTPX)


@pytest.fixture(scope="module")
def played(
    servers: Zygote, postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Truth, Connection]]:
    """The truth of a scenario, and the database that it left."""
    with new_database(postgres_server, BLANK) as url:
        outcome = trio.run(_play, servers, url, tmp_path_factory.mktemp("judged"))
        assert not outcome.broken, "\n".join(map(str, outcome.broken))
        with connect(url) as connection:
            yield outcome.truth, connection


async def _play(servers: Zygote, url: str, folder: Path) -> Outcome:
    async with scene(servers, folder, url) as stage:
        return await play(stage, Script(seed=1, acts=200, kills=1))


@pytest.mark.parametrize(
    ("invariant", "table", "damage"),
    DAMAGE,
    ids=[f"{at}-{table}" for at, (_, table, _) in enumerate(DAMAGE)],
)
def test_a_damaged_row_is_named(
    invariant: str, table: str, damage: str, played: tuple[Truth, Connection]
) -> None:
    truth, connection = played
    books, after = _damaged(connection, damage)
    assert books != after, "nothing was damaged: the scenario left no such row"
    found = {(each.invariant, each.table) for each in check_invariants(truth, after)}
    assert (invariant, table) in found


def test_every_table_that_is_read_is_damaged() -> None:
    assert {table for _, table, _ in DAMAGE} == set(ORDER)


def test_undamaged_books_are_found_to_be_right(played: tuple[Truth, Connection]) -> None:
    truth, connection = played
    with connection.transaction():
        assert check_invariants(truth, read_books(connection)) == []


def _damaged(connection: Connection, damage: str) -> tuple[Books, Books]:
    """The books as they are, and as they would be."""
    with connection.transaction(force_rollback=True):
        books = read_books(connection)
        connection.execute(damage.encode())
        return books, read_books(connection)
