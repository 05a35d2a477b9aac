"""Speed of indexing a long history into an empty database, beside what the RPC serves.

    .venv/bin/python -m bench.indexing.from_nothing [--transactions 20000] [--json FILE]

The local chain is a process of its own. Its whole history is only read, as the indexer reads it:
the list, then the transactions, 100 to a request. Then the indexer applies it to an embedded
PostgreSQL, from nothing, and it is read again, since the machine may be busier at one time than at
another. Here the transactions are read 100 to a request, the indexer reads blocks. The goal is two
fifths of the reading's rate; the exit code says whether it holds.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
import trio

from bench import report
from bench.indexing.history import SERVE
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import Commitment, Programs, Slot
from cvms.config.loader import load_programs
from cvms.dev.postgres import embedded_postgres
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import Owners
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, TimelockWakeup, TvlWakeup
from cvms.nursery.indexing.indexer import Indexer
from cvms.nursery.indexing.signature_gap import list_signatures_since
from cvms.store.postgres.database import open_database

WANTED_SHARE = 0.4
BATCH = 100


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    parser = argparse.ArgumentParser()
    parser.add_argument("--transactions", type=int, default=20_000)
    report.add_arguments(parser)
    options = parser.parse_args()
    gc.collect()
    gc.freeze()  # as the service does
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        embedded_postgres(Path(folder) / "data") as database,
        history(options.transactions) as (rpc_url, ws_url),
    ):
        good = trio.run(measure, database, rpc_url, ws_url, options.json)
    sys.exit(0 if good else 1)


async def measure(database_url: str, rpc_url: str, ws_url: str, path: Path | None) -> bool:
    programs = load_programs({})
    async with open_rpc([rpc_url], timeout=30.0) as rpc:
        before = await read_all(rpc, programs)
        began, cpu = time.perf_counter(), time.process_time()
        await index_all(database_url, rpc, ws_url, programs)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        after = await read_all(rpc, programs)
    count, reading = after[0], (before[1] + after[1]) / 2
    indexing = count / took
    print(f"reading   {count} transactions, {before[1]:.0f}/s before, {after[1]:.0f}/s after")
    print(f"indexing  {indexing:.0f}/s, {cpu / count * 1000:.3f} ms CPU of ours each")
    print(f"share     {indexing / reading:.2f} (wanted {WANTED_SHARE:.2f})")
    rows = (
        report.row("indexed from nothing", indexing, "transactions/s", reading),
        report.row("our CPU for each", cpu / count * 1e6, "µs"),
    )
    report.finish(report.Report("indexing", rows), path)
    return indexing >= WANTED_SHARE * reading


async def read_all(rpc: RpcClient, programs: Programs) -> tuple[int, float]:
    """Return the number of transactions and how many the RPC served a second."""
    began = time.perf_counter()
    infos = await list_signatures_since(
        rpc, programs.vault, cursor=None, at_least=Slot(0), longest=sys.maxsize
    )
    for first in range(0, len(infos), BATCH):
        wanted = [info.signature for info in infos[first : first + BATCH]]
        await rpc.get_transactions(wanted, commitment=Commitment.CONFIRMED)
    return len(infos), len(infos) / (time.perf_counter() - began)


async def index_all(database_url: str, rpc: RpcClient, ws_url: str, programs: Programs) -> None:
    send, receive = trio.open_memory_channel[Owners](1_000_000)
    async with open_database(database_url) as database:
        await database.prepare()
        indexer = Indexer(
            database=database,
            rpc=rpc,
            ws_urls=[ws_url],
            programs=programs,
            progress=IndexerProgress(),
            timelock_wake=TimelockWakeup(),
            indexed=send,
            outbox_wake=OutboxWakeup(),
            tvl_wake=TvlWakeup(),
            board=StatusBoard(),
            metrics=Metrics(),
        )
        while not await indexer.catch_up():
            pass
    receive.close()


@contextmanager
def history(transactions: int) -> Iterator[tuple[str, str]]:
    """Start a chain with so many transactions; return its URLs."""
    command = [sys.executable, "-c", SERVE, str(transactions)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            rpc_url, ws_url = json.loads(process.stdout.readline())
            yield rpc_url, ws_url
        finally:
            process.stdin.close()  # it stops when nobody holds it any more


if __name__ == "__main__":
    main()
