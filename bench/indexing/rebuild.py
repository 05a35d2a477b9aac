"""Growth of `cvms index rebuild` with the history: built again, compared, nothing replaced.

    .venv/bin/python -m bench.indexing.rebuild [--transactions 10000 100000] [--json FILE]

The local chain is a process of its own. Its history is indexed into an embedded PostgreSQL, and
rebuilt beside it. The goal is 1.2 times the time per transaction of the shorter history; the exit
code says whether it is met.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import structlog
import trio

from bench import report
from bench.indexing.from_nothing import history, index_all
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.config.loader import load_programs
from cvms.dev.postgres import embedded_postgres
from cvms.nursery.reconciliation.full_rebuild import (
    ComparisonProgress,
    RebuildProgress,
    open_rebuild,
)

GOAL = 1.2
REPORT_SECONDS = 10.0


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--transactions", type=int, nargs=2, default=(10_000, 100_000))
    report.add_arguments(parser)
    options = parser.parse_args()
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    few, many = (_rebuild(count) for count in options.transactions)
    rows = (report.row("index rebuild, per transaction", many, "µs", few),)
    report.finish(report.Report("indexing.rebuild", rows), options.json)
    sys.exit(0 if many <= few * GOAL else 1)


def _rebuild(transactions: int) -> float:
    """Return the microseconds for each transaction of a rebuild that finds no difference."""
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        embedded_postgres(Path(folder) / "data") as database,
        history(transactions) as (rpc_url, ws_url),
    ):
        seconds = trio.run(_measure, database, rpc_url, ws_url)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{transactions} transactions: {seconds:.1f} s, {peak} MiB at most", flush=True)
    return seconds / transactions * 1e6


async def _measure(database_url: str, rpc_url: str, ws_url: str) -> float:
    programs, shown = load_programs({}), -REPORT_SECONDS
    begin = time.perf_counter()

    def show(progress: RebuildProgress | ComparisonProgress) -> None:
        nonlocal shown
        if (now := time.perf_counter() - begin) > shown + REPORT_SECONDS:
            shown = now
            print(f"  {now:.0f} s: {progress}", flush=True)

    async with open_rpc([rpc_url], timeout=30.0) as rpc:
        await index_all(database_url, rpc, ws_url, programs)
        begin = time.perf_counter()
        rebuilding = open_rebuild(
            database_url, rpc=rpc, programs=programs, fresh=True, report=show, max_shown=1
        )
        async with rebuilding as rebuild:
            outcome = await rebuild.run(replace=False)
    if not outcome.equal:
        raise ValueError(f"{outcome.counts} rows differ, {outcome.completeness.summary}")
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
