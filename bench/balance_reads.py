"""GET /api/vault/balance at 500 requests a second: 10,000 vaults, one process, real sockets.

    .venv/bin/python -m bench.balance_reads [--rate 500] [--seconds 20]

The server is the front end in a process of its own, on an embedded PostgreSQL, once without and
once with Redis; this process makes the load. /health on the same server in the same run is the
baseline: what a request costs that reads nothing. Every run is bounded; the exit code is 1 if any
request failed or a p95 is over 20 ms.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import trio
from solders.pubkey import Pubkey

from bench.load import Result, load
from bench.serve import SERVE
from cvms.dev.postgres import embedded_postgres
from cvms.store.postgres.database import open_database
from tests.redis_server import RedisServer

VAULTS = 10_000
WANTED_P95_MS = 20.0
WARM_UP_SECONDS = 3.0

FILL = """
INSERT INTO vaults (
    owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
    total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot
)
SELECT owner, 'v' || owner, 't' || owner, 'mint', number * 10, number * 9, number, 0, 0,
       number * 10, 0, 0, '{}', '{}', number
FROM unnest(%(owners)s::TEXT[]) WITH ORDINALITY AS vault (owner, number)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    owners = [str(Pubkey.new_unique()) for _ in range(VAULTS)]
    balances = [f"/api/vault/balance/{owner}" for owner in owners]
    random.Random(1).shuffle(balances)
    print(f"{options.rate:g} requests/s, {options.seconds:g} s each; ", end="")
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| | requests | failed | p50 ms | p95 ms | p99 ms | max ms | server's CPU ms each |")
    print("|---|---|---|---|---|---|---|---|")
    good = True
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        database(Path(folder), owners) as url,
    ):
        redis = RedisServer(Path(folder))
        try:
            for name, redis_url in (("no Redis", ""), ("Redis", redis.url)):
                with server(url, redis_url) as (port, process):
                    for what, paths in (("health", ["/health"]), ("balance", balances)):
                        trio.run(measure, port, paths, options.rate, WARM_UP_SECONDS)
                        before = sum(process.cpu_times()[:2])
                        found = trio.run(measure, port, paths, options.rate, options.seconds)
                        cpu = sum(process.cpu_times()[:2]) - before
                        good &= show(f"{what}, {name}", found, cpu)
        finally:
            redis.client.close()
            redis.kill()
    sys.exit(0 if good else 1)


async def measure(port: int, paths: list[str], rate: float, seconds: float) -> Result:
    return await load(port, paths, rate=rate, seconds=seconds)


def show(name: str, result: Result, cpu_seconds: float) -> bool:
    """Print a row of the table and return whether it meets its bound."""
    shares = [result.percentile(share) for share in (0.5, 0.95, 0.99, math.nextafter(1, 0))]
    numbers = " | ".join(f"{each:.2f}" for each in shares)
    count = len(result.milliseconds)
    cpu = cpu_seconds * 1000 / count
    print(f"| {name} | {count} | {result.failures} | {numbers} | {cpu:.2f} |", flush=True)
    return result.failures == 0 and shares[1] <= WANTED_P95_MS


@contextmanager
def database(folder: Path, owners: list[str]) -> Iterator[str]:
    async def prepare() -> None:
        async with open_database(url) as found:
            await found.prepare()

    with embedded_postgres(folder / "data") as url:
        trio.run(prepare)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL, {"owners": owners})
            connection.execute("VACUUM ANALYZE")
        yield url


@contextmanager
def server(url: str, redis_url: str) -> Iterator[tuple[int, psutil.Process]]:
    """Start the front end in a process of its own; return its port and the process."""
    command = [sys.executable, "-c", SERVE, url, redis_url]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as done:
        assert done.stdout is not None
        assert done.stdin is not None
        try:
            yield int(done.stdout.readline()), psutil.Process(done.pid)
        finally:
            done.stdin.close()  # it stops when nobody holds it any more


if __name__ == "__main__":
    main()
