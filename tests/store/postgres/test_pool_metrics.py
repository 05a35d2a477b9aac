"""The metrics of the pool say how busy it is, and what became of each query."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cvms.metrics import Metrics
from cvms.store.postgres.database import open_database


def reader(metrics: Metrics) -> Callable[..., float | None]:
    def read(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"cvms_database_{name}", labels)

    return read


async def test_connections_waits_and_queries_are_counted(database_url: str) -> None:
    metrics = Metrics()
    read = reader(metrics)
    async with open_database(database_url, size=1, metrics=metrics.database) as database:
        await database.prepare()

        async def ask() -> None:
            async with database.connection() as other:
                await other.execute("SELECT 1")

        async with trio.open_nursery() as tasks, database.connection() as conn:
            before = read("queries_total", outcome="ok") or 0
            await conn.execute("SELECT 1")
            assert read("queries_total", outcome="ok") == before + 1
            with pytest.raises(psycopg.errors.DivisionByZero):
                await conn.execute("SELECT 1 / 0")
            assert read("queries_total", outcome="error") == 1
            await conn.execute("SET statement_timeout = 1")
            with pytest.raises(psycopg.errors.QueryCanceled):
                await conn.execute("SELECT pg_sleep(60)")
            assert read("queries_total", outcome="timeout") == 1
            with trio.move_on_after(0):
                await conn.execute("SELECT pg_sleep(60)")
            assert read("queries_total", outcome="cancelled") == 1
            tasks.start_soon(ask)
            await wait_all_tasks_blocked()
            assert (read("pool_waiting"), read("pool_connections", state="in_use")) == (1, 1)
        assert (read("pool_waiting"), read("pool_connections", state="idle")) == (0, 1)
        assert read("pool_wait_seconds_count") == 2
        assert (read("pool_wait_seconds_sum") or 0) > 0
