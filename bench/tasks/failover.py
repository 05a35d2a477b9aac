"""Time without a leader: two replicas, from the leader's death or stop until the other indexes.

    .venv/bin/python -m bench.tasks.failover [--times 5] [--json FILE]

Real processes on an embedded PostgreSQL and a local chain. The baseline of the same run is a
leader that ends in order (SIGTERM) and hands over. The exit code is 1 if any took 5 s or more.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import trio

from bench import report
from cvms.dev.postgres import embedded_postgres
from tests.acceptance.conftest import localnet_arguments
from tests.harness.free_ports import free_port
from tests.harness.processes import Command, cvms, until_ready

WANTED_SECONDS = 5.0
LEADING = """
SELECT holder, indexed_slot IS NOT NULL AS indexes
FROM leadership
WHERE until > clock_timestamp()
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=5)
    report.add_arguments(parser)
    options = parser.parse_args()
    print(report.machine())
    worst, rows, base = 0.0, list[report.Row](), None
    fates = {
        "shuts down in order": signal.SIGTERM,
        "is killed": signal.SIGKILL,
        "is stopped": signal.SIGSTOP,
    }
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        embedded_postgres(Path(folder) / "data") as database,
    ):
        for name, number in fates.items():
            taken = trio.run(measure, Path(folder), database, number, options.times)
            median = statistics.median(taken)
            rows.append(report.row(f"the leader {name}, median", median, "s", base))
            rows.append(report.row(f"the leader {name}, worst", max(taken), "s"))
            base = base or median
            worst = max(worst, *taken)
    report.finish(report.Report("tasks.failover", tuple(rows)), options.json)
    sys.exit(worst >= WANTED_SECONDS)


async def measure(folder: Path, database: str, number: signal.Signals, times: int) -> list[float]:
    """Return the seconds from the signal to another indexing leader, for each trial."""
    taken = []
    async with AsyncExitStack() as stack:
        arguments = localnet_arguments(free_port())
        chain = await stack.enter_async_context(cvms(*arguments, folder=folder))
        environ = {
            "DATABASE_URL": database,
            "SOLANA_RPC_URL": await chain.line("RPC"),
            "SOLANA_WS_URL": await chain.line("PubSub"),
            "DEPLOYER_KEYPAIR_PATH": str(folder / "chain" / "operator.json"),
        }
        leader = await _replica(stack, folder, environ)
        for _ in range(times):
            successor = await _replica(stack, folder, environ)
            await _until_leads(database, leader)
            begin = time.monotonic()
            leader.process.send_signal(number)
            await _until_leads(database, successor)
            taken.append(time.monotonic() - begin)
            if number == signal.SIGSTOP:
                leader.process.send_signal(signal.SIGCONT)
            leader.process.terminate()
            await leader.process.wait()
            leader = successor
    return taken


async def _replica(stack: AsyncExitStack, folder: Path, environ: dict[str, str]) -> Command:
    port = free_port()
    replica = cvms("serve", folder=folder, environ=environ | {"PORT": str(port)})
    process = await stack.enter_async_context(replica)
    await until_ready(f"http://127.0.0.1:{port}", process)
    return process


async def _until_leads(database: str, replica: Command) -> None:
    with trio.fail_after(60), psycopg.connect(database, autocommit=True) as conn:
        while True:
            row = conn.execute(LEADING).fetchone()
            if row and row[0].endswith(f":{replica.process.pid}") and row[1]:
                return
            await trio.sleep(0.02)


if __name__ == "__main__":
    main()
