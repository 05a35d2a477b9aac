"""The outbox as it is beside two designs without its single row: same writers, same disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from bench import report
from bench.growth import outbox
from bench.growth.pgbench import transactions_per_second, with_values
from bench.growth.prototypes import logical_decoding, partitioned
from cvms.dev.postgres import embedded_postgres

WRITERS = 16
PARTITIONS = (1, 4, 16)

Rate = Callable[[str], float]
"""Transactions a second that commit a statement."""


@contextmanager
def logical_postgres(data: Path) -> Iterator[str]:
    """Run a PostgreSQL that logs what logical decoding needs."""
    with embedded_postgres(data) as url, psycopg.connect(url, autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET wal_level = logical")
    with embedded_postgres(data) as url:
        yield url


def measure(url: str, seconds: float) -> Iterator[report.Row]:
    """Measure on a database that has the schema and logical decoding."""
    with psycopg.connect(url, autocommit=True) as conn:
        for durable in (True, False):
            disk = "" if durable else ", no wait for the disk"

            def rate(statement: str, durable: bool = durable) -> float:
                return transactions_per_second(
                    url, [statement], writers=WRITERS, seconds=seconds, durable=durable
                )

            base = rate(outbox.append(conn, 1))
            yield report.row(f"as it is, {WRITERS} writers{disk}", base, "transactions/s", base)
            for partitions in PARTITIONS:
                found, read = _partitioned(conn, partitions, rate)
                name = f"{partitions} partitions, {WRITERS} writers{disk}"
                yield report.row(name, found, "transactions/s", base)
            yield report.row(f"{PARTITIONS[-1]} partitions, one reader{disk}", read, "rows/s")
            found, _ = _partitioned(conn, PARTITIONS[-1], rate, notify=True)
            name = f"{PARTITIONS[-1]} partitions and NOTIFY, {WRITERS} writers{disk}"
            yield report.row(name, found, "transactions/s", base)
            found, read = _logical(conn, rate)
            name = f"logical decoding, {WRITERS} writers{disk}"
            yield report.row(name, found, "transactions/s", base)
            yield report.row(f"logical decoding, one reader{disk}", read, "rows/s")


def _partitioned(
    conn: psycopg.Connection[Any], partitions: int, rate: Rate, *, notify: bool = False
) -> tuple[float, float]:
    conn.execute("DROP TABLE IF EXISTS part_head, part_outbox")
    conn.execute(partitioned.CREATE)
    values = {"messages": 1, "data": Jsonb(outbox.payload())}
    statement = with_values(conn, partitioned.APPEND.replace("{part}", ":part"), values)
    told = ";\nSELECT pg_notify('parts', :part::TEXT)" if notify else ""
    found = rate(f"\\set part random(0, {partitions - 1})\n{statement}{told}")
    rows, seconds = partitioned.read_all(conn, partitions)
    return found, rows / seconds


def _logical(conn: psycopg.Connection[Any], rate: Rate) -> tuple[float, float]:
    for statement in logical_decoding.CREATE:
        conn.execute(statement)
    values = {"text": json.dumps(outbox.payload()), "messages": 1}
    try:
        found = rate(with_values(conn, logical_decoding.EMIT, values))
        rows, seconds = logical_decoding.read_all(conn)
    finally:
        conn.execute(logical_decoding.DROP)
        conn.execute("DROP PUBLICATION outbox_messages")
    if not rows:
        raise ValueError("the slot has no messages")
    return found, rows / seconds
