"""Cost of the analytics routes and the vault list, by default at a million transactions.

    .venv/bin/python -m bench.reads.analytics [--json FILE]

Fills an embedded PostgreSQL with three years of history, has the migrations sum it up as for an
older database, and prints the best and the worst of ten EXPLAIN ANALYZE for each query, through the
functions that the routes call. The baseline is a query that reads nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trio

from bench import report
from cvms.dev.postgres import embedded_postgres
from cvms.store.analytics import aggregates
from cvms.store.postgres.database import open_database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.migrate import apply_schema, migrations
from cvms.store.vaults import balance_history, listing

LINES = 1_000_000
LINES_OF_A_VAULT = 10
ROUNDS = 10
FIRST = datetime(2023, 1, 1, tzinfo=UTC)

FILL_VAULTS = """
INSERT INTO vaults (
    owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
    total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot
)
SELECT 'owner' || n, 'vault' || n, 'tokens' || n, 'mint', held, held - held / 3, held / 3, 0, 0,
       held, 0, 0, '{}', '{}', n
FROM generate_series(1, %(vaults)s) AS n
CROSS JOIN LATERAL (VALUES ((10 ^ (n %% 12))::BIGINT + n)) AS size (held)
"""
FILL_LINES = """
INSERT INTO transactions (
    owner, vault, kind, amount, slot, block_time, signature, instruction_index, ordinal, commitment
)
SELECT 'owner' || (n %% %(vaults)s + 1), 'vault' || (n %% %(vaults)s + 1),
       (ARRAY['deposit', 'lock', 'unlock', 'transfer_in', 'transfer_out', 'timelock',
              'timelock_release', 'yield_deposit', 'yield_withdraw', 'yield_compound',
              'emergency_withdraw', 'withdraw'])[n %% 12 + 1],
       n %% 1000 + 1, n, %(first)s + n * (INTERVAL '3 years' / %(lines)s), 's' || n, 0, 0,
       'finalized'
FROM generate_series(1, %(lines)s) AS n
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="the cost of analytics")
    parser.add_argument("--lines", type=int, default=LINES, help="of history, over three years")
    parser.add_argument("--explain", action="store_true", help="also print two plans")
    report.add_arguments(parser)
    options = parser.parse_args()
    print(report.machine())
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        embedded_postgres(Path(folder) / "data") as url,
    ):
        rows = trio.run(measure, url, options.lines, options.explain)
    report.finish(report.Report("reads.analytics", tuple(rows)), options.json)


async def measure(url: str, lines: int, explain: bool) -> list[report.Row]:
    async with open_database(url) as database, database.dedicated(query_timeout=300) as conn:
        rows = [report.row("migrations 6 and later", await fill(conn, lines), "s")]
        base = await _milliseconds(lambda conn: conn.execute("SELECT 1"), conn)
        for name, ask in questions(lines).items():
            took = await _milliseconds(ask, conn)
            rows.append(report.row(f"{name}, best", min(took), "ms", min(base)))
            rows.append(report.row(f"{name}, worst", max(took), "ms"))
        for name in ("flows", "series") if explain else ():
            print(f"{name}, 1000 days:\n{await explained(conn, name)}\n")
    return rows


async def _milliseconds(
    ask: Callable[[Connection], Awaitable[Any]], conn: Connection
) -> list[float]:
    took = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        await ask(conn)
        took.append((time.perf_counter() - begin) * 1000)
    return took


async def fill(conn: Connection, lines: int) -> float:
    """Fill an older database; return the seconds in which the later migrations sum it up."""
    steps, vaults = migrations(), lines // LINES_OF_A_VAULT
    await apply_schema(conn, [each for each in steps if each.version < 6])
    await conn.execute(FILL_VAULTS, {"vaults": vaults})
    await conn.execute(FILL_LINES, {"vaults": vaults, "lines": lines, "first": FIRST})
    begin = time.perf_counter()
    await apply_schema(conn, steps)
    seconds = time.perf_counter() - begin
    await conn.execute("VACUUM ANALYZE")
    return seconds


def questions(lines: int) -> dict[str, Callable[[Connection], Awaitable[Any]]]:
    year = FIRST + timedelta(days=365)
    days = {"since": FIRST, "until": FIRST + timedelta(days=1000), "bucket": "day"}
    hours = {"since": year, "until": year + timedelta(hours=1000), "bucket": "hour"}
    found: dict[str, Callable[[Connection], Awaitable[Any]]] = {
        "tvl-series, 1000 days": lambda conn: aggregates.series(conn, **days),  # type: ignore[arg-type]
        "tvl-series, 1000 hours": lambda conn: aggregates.series(conn, **hours),  # type: ignore[arg-type]
        "flow, 1000 days": lambda conn: aggregates.flows(conn, **days),  # type: ignore[arg-type]
        "flow, 1000 hours": lambda conn: aggregates.flows(conn, **hours),  # type: ignore[arg-type]
        "distribution": aggregates.sizes,
        "utilization, overview": aggregates.holdings,
        "a past balance": lambda conn: balance_history.at(conn, "owner77", lines // 2),
    }
    sorts: tuple[listing.Sort, ...] = ("balance_desc", "balance_asc", "slot", "owner")
    for sort in sorts:
        found[f"100 vaults by {sort}"] = lambda conn, sort=sort: listing.page(  # type: ignore[misc]
            conn, sort=sort, after=None, min_balance=0, limit=100
        )
        found[f"the richest only, by {sort}"] = lambda conn, sort=sort: listing.page(  # type: ignore[misc]
            conn, sort=sort, after=None, min_balance=10**11 + 99_000, limit=100
        )
    return found


async def explained(conn: Connection, name: str) -> str:
    query = {"flows": aggregates.FLOWS, "series": aggregates.SERIES}[name]
    params = {
        "since": FIRST,
        "until": FIRST + timedelta(days=1000),
        "bucket": "day",
        "step": "1 day",
    }
    cursor = await conn.execute(b"EXPLAIN (ANALYZE, COSTS OFF) " + query.encode(), params)
    return "\n".join(line for (line,) in await cursor.fetchall())


if __name__ == "__main__":
    main()
