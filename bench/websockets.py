"""1,000 WebSocket clients on one process, 20 broadcasts a second of 300 bytes; 5,000 idle ones.

    .venv/bin/python -m bench.websockets [--clients 1000] [--rate 20] [--seconds 15] [--idle 5000]

The server is the front end with its broadcaster in a process of its own, on an embedded
PostgreSQL; this process writes to the outbox and reads all clients. Latency is from before the
INSERT to the client's read. The baseline, in the same run, is a bare trio server that writes the
same frames to as many sockets. Exit code 1 if a message is missing or a p95 is over 250 ms.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import trio
from psycopg.types.json import Jsonb

from bench.serve_sockets import SERVE
from bench.sockets import HANDSHAKE, Crowd, connected
from cvms.dev.postgres import embedded_postgres
from cvms.store.messaging.outbox import APPEND

TOPIC = "deposit_event"
WANTED_P95_MS = 250.0
WANTED_IDLE_MIB = 400.0
BARE = "from bench.websockets import bare; bare()"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--idle", type=int, default=5000)
    options = parser.parse_args()
    print(f"{options.clients} clients, {options.rate:g}/s, load {os.getloadavg()[0]:.1f}")
    print("| | messages | missing | p50 ms | p95 ms | p99 ms | max ms | server's CPU µs each |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, embedded_postgres(Path(folder)) as database:
        good = _measure_bare(options)
        good = _measure_ours(options, database) and good
        good = _measure_idle(options.idle, database) and good
    sys.exit(not good)


def _measure_ours(options: argparse.Namespace, database: str) -> bool:
    with (
        _process(SERVE, database) as (port, server),
        connected(port, options.clients, topic=TOPIC) as crowd,
        psycopg.connect(database, autocommit=True) as conn,
    ):
        return _row("cvms", crowd, server, options, lambda: _append(conn))


def _measure_bare(options: argparse.Namespace) -> bool:
    with (
        _process(BARE) as (port, server),
        connected(port, options.clients, topic=None) as crowd,
    ):
        stdin = server.stdin
        assert stdin is not None

        def publish() -> None:
            stdin.write(f"{time.time()!r}\n".encode())
            stdin.flush()

        return _row("bare trio", crowd, server, options, publish)


def _row(
    name: str,
    crowd: Crowd,
    server: subprocess.Popen[bytes],
    options: argparse.Namespace,
    publish: Callable[[], None],
) -> bool:
    count = int(options.rate * options.seconds)

    def write() -> None:
        begin = time.monotonic()
        for number in range(count):
            time.sleep(max(0, begin + number / options.rate - time.monotonic()))
            publish()

    process = psutil.Process(server.pid)
    before = sum(process.cpu_times()[:2])
    writer = threading.Thread(target=write)
    writer.start()
    crowd.read(options.seconds + 3)
    writer.join()
    cpu = sum(process.cpu_times()[:2]) - before
    got = sorted(crowd.milliseconds)
    missing = count * len(crowd.clients) - len(got)
    if not got:
        print(f"| {name} | 0 | {missing} |")
        return False
    p50, p95, p99 = (got[int(share * (len(got) - 1))] for share in (0.5, 0.95, 0.99))
    print(f"| {name} | {len(got)} | {missing} | {p50:.1f} | {p95:.1f} | {p99:.1f} ", end="")
    print(f"| {got[-1]:.1f} | {cpu / len(got) * 1e6:.1f} |", flush=True)
    return missing == 0 and p95 <= WANTED_P95_MS


def _measure_idle(count: int, database: str) -> bool:
    if not count:
        return True
    with _process(SERVE, database) as (port, server):
        process = psutil.Process(server.pid)
        empty = process.memory_info().rss / 2**20
        with connected(port, count, topic=TOPIC):
            full = process.memory_info().rss / 2**20
    each = (full - empty) * 1024 / count
    print(f"\n{count} idle clients: {full:.0f} MiB, {empty:.0f} without; {each:.1f} KiB each")
    return full <= WANTED_IDLE_MIB


def _append(conn: psycopg.Connection[Any]) -> None:
    data = {"pad": "x" * 150, "sent": time.time()}
    row = {
        "topic": [TOPIC],
        "owner": [None],
        "slot": [1],
        "signature": [None],
        "commitment": ["confirmed"],
        "data": Jsonb([data]),
        "type": ["event"],
        "channel": "outbox",
    }
    conn.execute(APPEND, row)


@contextmanager
def _process(code: str, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    server = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline()), server
    finally:
        server.stdin.close()
        server.wait(timeout=30)


def bare() -> None:
    """A trio server that greets clients and writes each line of its input to all of them."""
    trio.run(_bare)


async def _bare() -> None:
    sockets: list[trio.SocketStream] = []

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(len(HANDSHAKE))
        await stream.send_all(b"connected")
        sockets.append(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        print(listener.socket.getsockname()[1], flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            text = f'{{"pad":"{"x" * 240}","sent":{line.strip()}}}'.encode()
            frame = b"\x81\x7e" + len(text).to_bytes(2, "big") + text
            for stream in sockets:
                await stream.send_all(frame)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    main()
