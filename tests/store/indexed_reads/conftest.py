"""A primary with the schema, its streaming replica, and a reader of both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import trio

from cvms.metrics import Metrics
from cvms.store.index import cursor
from cvms.store.index.cursor import Cursor
from cvms.store.indexed_reads.batched_queries import start_batched_queries
from cvms.store.indexed_reads.reader import Reader, start_reader
from cvms.store.postgres.database import Database, open_database
from tests.harness.postgres_pair import Pair, execute, postgres_pair
from tests.store.examples import store_vault, vault_row

PROGRAM = "program"
NOTHING_ELSE = {"locked": 0, "timelocked": 0, "yield_deposited": 0}


@dataclass(frozen=True)
class Replicated:
    """A database that is written to, its replica, and who reads from both."""

    pair: Pair
    database: Database
    reader: Reader
    metrics: Metrics

    async def write(self, slot: int, total: int) -> None:
        """Index a vault's balance in a slot, and everything up to that slot."""
        async with self.database.transaction() as conn:
            await store_vault(
                conn, vault_row(slot=slot, total=total, available=total, **NOTHING_ELSE)
            )
            await cursor.advance(conn, Cursor(PROGRAM, slot, "signature"))
            await cursor.reach(conn, PROGRAM, slot)

    def answered_by(self, server: str) -> float:
        """Return how many reads the server has answered."""
        value = self.metrics.registry.get_sample_value(
            "cvms_indexed_reads_total", {"server": server}
        )
        return value or 0.0

    @property
    def trouble(self) -> str | None:
        return self.reader.replicas[0].trouble


def replay(pair: Pair) -> None:
    """Wait until the standby shows what the primary has committed."""
    with (
        psycopg.connect(pair.primary.uri(), autocommit=True) as primary,
        psycopg.connect(pair.standby.uri(), autocommit=True) as standby,
    ):
        row = primary.execute("SELECT pg_current_wal_lsn()").fetchone()
        assert row is not None
        while standby.execute("SELECT pg_last_wal_replay_lsn() >= %s", row).fetchone() != (True,):
            pass


def pause(pair: Pair) -> None:
    """Let the standby receive, and show nothing newer, from now on."""
    replay(pair)
    execute(pair.standby.uri(), "SELECT pg_wal_replay_pause()")
    with psycopg.connect(pair.standby.uri(), autocommit=True) as standby:
        while standby.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() != ("paused",):
            pass


def resume(pair: Pair) -> None:
    execute(pair.standby.uri(), "SELECT pg_wal_replay_resume()")
    replay(pair)


@asynccontextmanager
async def replicated(pair: Pair, *urls: str, **settings: Any) -> AsyncIterator[Replicated]:
    """Open the primary, with the schema, and the standby unless other `urls` are given."""
    metrics = Metrics()
    async with open_database(pair.primary.uri()) as database:
        await database.prepare()
        async with trio.open_nursery() as tasks:
            reader = start_reader(
                database,
                start_batched_queries(database, tasks),
                tasks,
                urls=urls or (pair.standby.uri(),),
                program=PROGRAM,
                metrics=metrics,
                **settings,
            )
            replay(pair)
            yield Replicated(pair, database, reader, metrics)
            tasks.cancel_scope.cancel()


@pytest.fixture(scope="module")
def _pair_of_module() -> Iterator[Pair]:
    """Whose primary waits for nobody: a replica that is gone delays no write."""
    with postgres_pair() as pair:
        execute(pair.primary.uri(), "ALTER SYSTEM SET synchronous_standby_names = ''")
        execute(pair.primary.uri(), "SELECT pg_reload_conf()")
        yield pair


@pytest.fixture
def pair(_pair_of_module: Pair) -> Iterator[Pair]:
    """A pair whose standby replays, and of which nothing is indexed."""
    yield _pair_of_module
    _pair_of_module.standby.start()
    resume(_pair_of_module)
    with psycopg.connect(_pair_of_module.primary.uri(), autocommit=True) as conn:
        conn.execute("DROP SCHEMA public CASCADE")
        conn.execute("CREATE SCHEMA public")


@pytest.fixture
async def servers(pair: Pair) -> AsyncIterator[Replicated]:
    async with replicated(pair) as servers:
        await servers.write(100, 1)
        replay(pair)
        await servers.reader.check()
        assert servers.trouble is None, servers.reader.replicas[0].detail
        yield servers
