"""1,000 WebSocket clients on one process, 20 broadcasts a second of 300 bytes; 5,000 idle ones.

    .venv/bin/python -m bench.websockets [--clients 1000] [--rate 20] [--seconds 15] [--idle 5000]

The server is the front end with its broadcaster in a process of its own, on an embedded
PostgreSQL; this process writes to the outbox and reads all clients. Latency is from before the
INSERT to the client's read. The baseline, in the same run, is a bare trio server that writes the
same frames to as many sockets. Exit code 1 if a message is missing, a p95 is over 250 ms, or
5,000 idle clients take more than 400 MiB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

from bench import report
from bench.servers import front_end
from bench.servers.processes import started
from bench.websockets import bare
from bench.websockets.clients import connected
from bench.websockets.delivery import TOPIC, Delivery, append, deliver, stamp
from cvms.dev.postgres import embedded_postgres

WANTED_P95_MS = 250.0
WANTED_IDLE_MIB = 400.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--idle", type=int, default=5000)
    report.add_arguments(parser)
    options = parser.parse_args()
    print(f"{options.clients} clients, {options.rate:g} events/s; {report.machine()}")
    with (
        started(bare.SERVE) as server,
        connected(server.port, options.clients, topic=None) as crowd,
    ):
        base = deliver(crowd, server, options.rate, options.seconds, lambda: stamp(server))
    with tempfile.TemporaryDirectory() as folder, embedded_postgres(Path(folder)) as database:
        with (
            started(front_end.SERVE, database, "", "1") as server,
            connected(server.port, options.clients, topic=TOPIC) as crowd,
            psycopg.connect(database, autocommit=True) as conn,
        ):
            ours = deliver(crowd, server, options.rate, options.seconds, lambda: append(conn))
        idle = list(_idle(options.idle, database))
    rows = (*_rows("bare trio", base, None), *_rows("cvms", ours, base), *idle)
    report.finish(report.Report("websockets", rows), options.json)
    missing = base.missing + ours.missing
    print(f"{missing} messages are missing")
    sys.exit(bool(missing) or ours.p95 > WANTED_P95_MS or idle[0].value > WANTED_IDLE_MIB)


def _rows(name: str, found: Delivery, base: Delivery | None) -> Iterator[report.Row]:
    yield report.row(f"{name}, p50", found.p50, "ms", base.p50 if base else None)
    yield report.row(f"{name}, p95", found.p95, "ms")
    yield report.row(f"{name}, p99", found.p99, "ms")
    cpu = f"{name}, server's CPU for each message"
    yield report.row(cpu, found.cpu_us, "CPU µs", base.cpu_us if base else None)


def _idle(count: int, database: str) -> Iterator[report.Row]:
    with started(front_end.SERVE, database, "", "1") as server:
        empty = server.mebibytes()
        with connected(server.port, count, topic=TOPIC):
            full = server.mebibytes()
    yield report.row(f"memory with {count} idle clients", full, "MiB", empty)
    yield report.row("memory for each idle client", (full - empty) * 1024 / count, "KiB")


if __name__ == "__main__":
    main()
