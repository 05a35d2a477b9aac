"""The queries of hot routes: a vault's row, a page of a history, a new nonce.

    .venv/bin/python -m bench.reads.queries [--count 2000] [--json FILE]

On an embedded PostgreSQL with 10,000 vaults, and 50 lines of history for each of 2,000. The
baseline, in the same run, is psycopg alone: its C implementation, blocking, one query after the
other. The exit code is 1 if 32 clients at a time make fewer queries a second than the baseline.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
import trio

from bench import report
from bench.reads.database import FILL_LINES, filled_database
from cvms.store.indexed_reads.batched_queries import BatchedQueries, start_batched_queries
from cvms.store.postgres.database import Database, open_database
from cvms.store.security import nonces
from cvms.store.security.nonces import NewNonce
from cvms.store.vaults import history, vaults
from cvms.store.vaults.history import PageRequest

VAULTS = 10_000
CLIENTS = 32
LINES = 50
OWNERS_WITH_HISTORY = 2_000
LIFETIME = timedelta(minutes=5)

Ask = Callable[[str], Awaitable[object]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    report.add_arguments(parser)
    options = parser.parse_args()
    print(f"psycopg's implementation: {psycopg.pq.__impl__}; {report.machine()}")
    print("| | queries/s | to the baseline | our CPU µs each | PostgreSQL's CPU µs each |")
    print("|---|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        filled_database(Path(folder), vaults=VAULTS, lines=0) as (url, owners),
    ):
        with_history = owners[:OWNERS_WITH_HISTORY]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL_LINES, {"owners": with_history, "lines": LINES})
            connection.execute("VACUUM ANALYZE")
        random.Random(1).shuffle(with_history)
        rows = trio.run(measure, Measurement(url), url, with_history, options.count)
    report.finish(report.Report("queries", tuple(rows)), options.json)
    together = [row for row in rows if f"{CLIENTS} clients" in row.what]
    sys.exit(0 if all((row.ratio or 0) >= 1 for row in together) else 1)


class Measurement:
    """Prints a row of the table for each run, and keeps them."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url) as connection:
            server = psutil.Process(connection.info.backend_pid).parent()
        assert server is not None
        self._server = server
        self.rows: list[report.Row] = []

    async def run(
        self, what: str, *, owners: list[str], count: int, clients: int, ask: Ask, baseline: float
    ) -> float:
        """Measure `count` queries by so many clients at a time; return how many were made a second.

        The ratio is to `baseline`, or 1 if that is 0.
        """
        await _ask_all(owners, count // 10, clients, ask)  # to connect, and to prepare statements
        before = self._read_clocks()
        await _ask_all(owners, count, clients, ask)
        wall, ours, servers = (
            (now - then) / count * 1e6
            for now, then in zip(self._read_clocks(), before, strict=True)
        )
        rate = 1e6 / wall
        row = report.row(what, rate, "queries/s", baseline or rate)
        print(f"| {what} | {rate:.0f} | {row.ratio:.1f} | {ours:.0f} | {servers:.0f} |", flush=True)
        self.rows.append(row)
        return rate

    def _read_clocks(self) -> tuple[float, float, float]:
        backends = [sum(each.cpu_times()[:2]) for each in self._server.children()]
        return time.perf_counter(), time.process_time(), sum(backends)


async def measure(
    measurement: Measurement, url: str, owners: list[str], count: int
) -> list[report.Row]:
    async with (
        open_database(url) as opened,
        trio.open_nursery() as tasks,
    ):
        queries = start_batched_queries(opened, tasks)
        await opened.prepare()
        with psycopg.connect(url, autocommit=True) as connection:
            for what, (blocking, pipelined), own, batched in _kinds(connection, opened, queries):
                run = partial(measurement.run, owners=owners, count=count)
                base = await run(f"{what}: psycopg alone", clients=1, ask=blocking, baseline=0)
                together = f"{what}: psycopg alone, pipelines of {CLIENTS}"
                await run(together, clients=1, ask=pipelined, baseline=base)
                await run(f"{what}: own connection", clients=1, ask=own, baseline=base)
                await run(f"{what}: batched, 1 client", clients=1, ask=batched, baseline=base)
                many = f"{what}: batched, {CLIENTS} clients"
                await run(many, clients=CLIENTS, ask=batched, baseline=base)
        tasks.cancel_scope.cancel()
    return measurement.rows


def _kinds(
    connection: psycopg.Connection[Any], opened: Database, queries: BatchedQueries
) -> list[tuple[str, tuple[Ask, Ask], Ask, Ask]]:
    def alone(query: LiteralString, params: Callable[[str], Any]) -> tuple[Ask, Ask]:
        waiting: list[str] = []

        async def blocking(owner: str) -> object:
            return connection.execute(query, params(owner)).fetchall()

        async def pipelined(owner: str) -> object:
            waiting.append(owner)
            if len(waiting) < CLIENTS:
                return None
            with connection.pipeline():
                cursors = [connection.execute(query, params(each)) for each in waiting]
            waiting.clear()
            return [cursor.fetchall() for cursor in cursors]

        return blocking, pipelined

    async def vault(owner: str) -> object:
        async with opened.connection() as conn:
            return await vaults.get(conn, owner)

    async def page(owner: str) -> object:
        async with opened.connection() as conn:
            return await history.page(conn, owner, limit=LINES)

    async def nonce(owner: str) -> object:
        async with opened.connection() as conn:
            return await nonces.issue(conn, [new_nonce(owner)])

    newest = {"before_slot": history.MAX_ID, "before_id": history.MAX_ID, "offset": 0}
    return [
        (
            "vault",
            alone(vaults.GET, lambda owner: {"owner": owner}),
            vault,
            queries.vault_rows.ask,
        ),
        (
            "history",
            alone(history.PAGE, lambda owner: {"owner": owner, "limit": LINES, **newest}),
            page,
            lambda owner: queries.history_pages.ask(PageRequest(owner=owner, limit=LINES)),
        ),
        (
            "nonce",
            alone(
                "INSERT INTO nonces (nonce, owner, expires_at) VALUES (%s, %s, now() + %s)"
                " RETURNING expires_at",
                lambda owner: (secrets.token_hex(24), owner, LIFETIME),
            ),
            nonce,
            lambda owner: queries.nonces.ask(new_nonce(owner)),
        ),
    ]


def new_nonce(owner: str) -> NewNonce:
    return NewNonce(owner, secrets.token_hex(24), LIFETIME)


async def _ask_all(owners: list[str], count: int, clients: int, ask: Ask) -> None:
    async def client(first: int) -> None:
        for number in range(first, count, clients):
            await ask(owners[number % len(owners)])

    async with trio.open_nursery() as nursery:
        for first in range(clients):
            nursery.start_soon(client, first)


if __name__ == "__main__":
    main()
