"""Cost of the migrations: the first schema with generated books, brought up to today's.

    .venv/bin/python -m bench.vaults.migrations [--vaults 10000 1000000] [--lines 20]

Each number of vaults has an embedded PostgreSQL of its own, with `--lines` lines of history for
each vault. Each migration is timed alone; the goal for all of them is 1.2 times the time per line.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import trio

from bench.vaults.books import Books, books, signature
from bench.vaults.generate import (
    BUILD,
    EVENT_ROWS,
    LINES,
    Keys,
    configure,
    copy_lines,
    copy_vaults,
    drop_indexes,
    restore_index,
)
from cvms.config.loader import load_programs
from cvms.dev.postgres import embedded_postgres
from cvms.store.postgres.database import open_database
from cvms.store.postgres.migrate import apply_schema, migrations

GOAL = 1.2
TABLES = ("transactions", "chain_events")
CURSOR = """
INSERT INTO indexer_cursor (program, slot, signature)
VALUES (%(program)s, %(slot)s, %(signature)s)
"""
FIRST_SECONDS = 0.1
"""Shorter migrations are not in the table."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--vaults", type=int, nargs=2, default=(10_000, 1_000_000))
    parser.add_argument("--lines", type=int, default=20, help="of history for each vault")
    options = parser.parse_args()
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    few, many = (measure(books(n, n * options.lines, load_programs({}))) for n in options.vaults)
    print("| migration | " + " | ".join(f"{n:,} vaults" for n in options.vaults) + " |")
    print("|---|---|---|")
    for name, seconds in many.items():
        if seconds > FIRST_SECONDS:
            print(f"| {name} | {few[name]:.1f} s | {seconds:.1f} s |")
    work = options.vaults[1] / options.vaults[0]
    ratio = sum(many.values()) / sum(few.values()) / work
    print(f"| all | {sum(few.values()):.1f} s | {sum(many.values()):.1f} s |")
    print(f"\n{ratio:.2f} times the time per line (goal {GOAL})")
    return 0 if ratio <= GOAL else 1


def measure(planned: Books) -> dict[str, float]:
    """Return the seconds that each migration but the first takes on these books."""
    with tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder:
        data = Path(folder) / "data"
        with embedded_postgres(data) as url:
            configure(url)
        with embedded_postgres(data) as url:
            trio.run(_first_schema, url)
            fill(url, planned)
            return trio.run(_migrate, url)


def fill(url: str, planned: Books) -> None:
    """Fill the tables of the first schema, by COPY and without their indexes."""
    keys = Keys(planned)
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in BUILD.items():
            connection.execute(f"SET {name} = '{value}'".encode())
        dropped = list(drop_indexes(connection, TABLES))
        with connection.transaction():
            connection.execute("TRUNCATE transactions, chain_events")
            copy_lines(connection, planned, keys, (LINES, EVENT_ROWS), _report)
        # A column that the generator knows and the first schema lacks.
        connection.execute("ALTER TABLE vaults ADD COLUMN settled_slot BIGINT")
        copy_vaults(connection, planned, keys, _report)
        connection.execute("ALTER TABLE vaults DROP COLUMN settled_slot")
        for index in dropped:
            restore_index(connection, *index)
        last = {"slot": planned.head, "signature": signature(planned.lines - 1)}
        connection.execute(CURSOR, last | {"program": str(planned.programs.vault)})
        connection.execute("VACUUM ANALYZE")


def _report(text: str) -> None:
    print(f"  {text}", flush=True)


async def _first_schema(url: str) -> None:
    async with open_database(url) as database, database.dedicated(query_timeout=60) as conn:
        await apply_schema(conn, migrations()[:1])


async def _migrate(url: str) -> dict[str, float]:
    steps, took = migrations(), {}
    async with open_database(url) as database, database.dedicated(query_timeout=7200) as conn:
        for last in range(2, len(steps) + 1):
            begin = time.perf_counter()
            await apply_schema(conn, steps[:last])
            step = steps[last - 1]
            took[f"{step.version}: {step.name}"] = time.perf_counter() - begin
    return took


if __name__ == "__main__":
    sys.exit(main())
