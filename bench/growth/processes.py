"""Reads with one and with two processes, and broadcasts to 1 to 10,000 WebSockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg

from bench import report
from bench.growth.pgbench import transactions_per_second
from bench.load import get, saturate
from bench.reads.database import filled_database
from bench.servers import front_end
from bench.servers.processes import started
from bench.websockets.clients import connected
from bench.websockets.delivery import TOPIC, append, deliver

WORKERS = (1, 2)
CLIENTS = (1, 10, 100, 1_000, 10_000)
MESSAGES_A_SECOND = 10_000
"""To all clients together: with many, there are fewer events."""


def reads(folder: Path, seconds: float) -> Iterator[report.Row]:
    """With the load and the database on the same two cores, CPU says more than the rate."""
    base: float | None = None
    with filled_database(folder) as (url, owners):
        query = f"SELECT * FROM vaults WHERE owner = '{owners[0]}'"
        found_rows = transactions_per_second(url, [query], writers=16, seconds=seconds)
        yield report.row("PostgreSQL alone: a vault's row", found_rows, "rows/s")
        asked = [get(f"/api/vault/balance/{owner}") for owner in owners]
        for workers in WORKERS:
            with started(front_end.SERVE, url, "", str(workers)) as server:
                saturate(server.port, asked[:1000], seconds=1)
                before = server.cpu_seconds()
                found = saturate(server.port, asked, seconds=seconds, connections=64)
                cpu = (server.cpu_seconds() - before) * 1000 / found.count
                memory = server.mebibytes()
            name = f"balance, --workers {workers}"
            yield report.row(name, found.rate, "requests/s", base)
            yield report.row(f"{name}, servers' CPU each", cpu, "CPU ms")
            yield report.row(f"{name}, memory", memory, "MiB")
            base = base or found.rate


def sockets(
    folder: Path, seconds: float, clients: tuple[int, ...] = CLIENTS
) -> Iterator[report.Row]:
    """Raises ValueError if a message is missing."""
    with filled_database(folder) as (url, _):
        for workers in WORKERS:
            for count in clients:
                yield from _broadcast(url, workers, count, seconds)


def _broadcast(url: str, workers: int, count: int, seconds: float) -> Iterator[report.Row]:
    rate = min(50.0, max(1.0, MESSAGES_A_SECOND / count))
    with (
        started(front_end.SERVE, url, "", str(workers)) as server,
        connected(server.port, count, topic=TOPIC) as crowd,
        psycopg.connect(url, autocommit=True) as conn,
    ):
        found = deliver(crowd, server, rate, seconds, lambda: append(conn))
        memory = server.mebibytes()
    if found.missing:
        raise ValueError(f"{found.missing} of {found.count + found.missing} messages are missing")
    name = f"{count} WebSockets, --workers {workers}"
    yield report.row(f"{name}, CPU for each message", found.cpu_us, "CPU µs")
    yield report.row(f"{name}, p95", found.p95, "ms")
    yield report.row(f"{name}, memory", memory, "MiB")
