"""Broadcasts to many clients: how long each takes to arrive, and what it costs the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from bench.servers.processes import Started
from bench.websockets.clients import Crowd
from cvms.store.messaging.outbox import APPEND

TOPIC = "deposit_event"
LAST_SECONDS = 3.0
"""For messages that are still on their way."""


@dataclass(frozen=True, slots=True)
class Delivery:
    count: int
    missing: int
    p50: float
    p95: float
    p99: float
    cpu_us: float


def deliver(
    crowd: Crowd, server: Started, rate: float, seconds: float, publish: Callable[[], None]
) -> Delivery:
    """Publish at this rate to all clients. Raises ValueError if none receives anything."""
    count = max(1, int(rate * seconds))

    def write() -> None:
        begin = time.monotonic()
        for number in range(count):
            time.sleep(max(0, begin + number / rate - time.monotonic()))
            publish()

    before = server.cpu_seconds()
    writer = threading.Thread(target=write)
    writer.start()
    crowd.read(seconds + LAST_SECONDS, expected=count * len(crowd.clients))
    writer.join()
    cpu = server.cpu_seconds() - before
    got = sorted(crowd.milliseconds)
    if not got:
        raise ValueError("no client has received anything")
    p50, p95, p99 = (got[int(share * (len(got) - 1))] for share in (0.5, 0.95, 0.99))
    missing = count * len(crowd.clients) - len(got)
    return Delivery(len(got), missing, p50, p95, p99, cpu / len(got) * 1e6)


def append(conn: psycopg.Connection[Any]) -> None:
    """Append an event of 300 bytes with a timestamp to the outbox."""
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


def stamp(server: Started) -> None:
    """Have the bare server broadcast an event with a timestamp."""
    server.stdin.write(f"{time.time()!r}\n".encode())
    server.stdin.flush()
