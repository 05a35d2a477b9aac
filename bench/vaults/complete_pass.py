"""A whole pass of the reconciler over the books of generated vaults and a chain that holds them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.vaults.books import Books
from bench.vaults.serve_chain import SERVE
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import ReconcileQueue
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.nursery.reconciliation.reconciler import Reconciler
from cvms.store.postgres.database import Database
from cvms.store.reconciliation import pass_position


@dataclass(frozen=True, slots=True)
class PassSeconds:
    """Durations in a pass: of its pages, of the chain's list, and our CPU for both."""

    pages: float
    listing: float
    cpu: float


async def complete_pass(database: Database, planned: Books) -> PassSeconds:
    """Check all vaults in a pass of the reconciler.

    Raises ValueError if it did not find every vault equal, as after measurements that write.
    """
    board, metrics = StatusBoard(), Metrics()
    with chain(planned) as rpc_url:
        async with open_rpc([rpc_url], timeout=120.0) as rpc:
            reconciler = Reconciler(
                database=database,
                rpc=rpc,
                programs=planned.programs,
                progress=IndexerProgress(),
                reconciliations=ReconcileQueue(),
                outbox_wake=OutboxWakeup(),
                interval=60.0,
                threshold=0,
                hook=None,
                board=board,
                metrics=metrics,
            )
            begin, cpu = time.perf_counter(), time.process_time()
            await reconciler.full_pass()
            async with database.connection() as conn:
                listing = (await pass_position.read(conn)).listed_ago  # since it began
            took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    equal = metrics.registry.get_sample_value(
        "cvms_reconciliation_checks_total", {"outcome": "equal"}
    )
    bad = {name: each.detail for name, each in board.checks.statuses().items() if not each.ok}
    if equal != planned.vaults or bad:
        raise ValueError(
            f"{equal} of {planned.vaults} vaults were found equal, {bad or 'no'} problem"
        )
    return PassSeconds(pages=took - listing, listing=listing, cpu=cpu)


@contextmanager
def chain(planned: Books) -> Iterator[str]:
    """Start a chain with the accounts of all vaults, and return its URL."""
    numbers = [str(planned.vaults), str(planned.lines), planned.end.isoformat()]
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, *numbers],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()  # it stops when nobody holds it any more
