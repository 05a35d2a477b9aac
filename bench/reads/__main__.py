"""What reads cost: each route saturated at 32 connections, and at 500 requests a second.

    .venv/bin/python -m bench.reads [--seconds 3] [--rate 500] [--only health] [--json FILE]

The server is the front end in a process of its own, without rate limits, on an embedded PostgreSQL
with 60,000 vaults; the load is another process. The baseline of each saturated rate is a bare
server of trio and httptools in the same run, which reads nothing. Figures at a fixed rate are shown
but have none: those of a few seconds vary by a half. Exit code 1 if a request failed, or a p95 at
the fixed rate is over 20 ms.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import report
from bench.load import Result, at_rate, get, post, saturate
from bench.reads.database import WITH_HISTORY, filled_database
from bench.servers import bare, front_end
from bench.servers.processes import Started, started
from tests.redis_server import RedisServer

WANTED_P95_MS = 20.0
WARM_UP_SECONDS = 1.0
OFTEN_ASKED = 100
"""Owners whose balance is asked again and again: hits of any cache."""


@dataclass(frozen=True, slots=True)
class Route:
    """Requests of one kind, which are repeated in turn, and other requests to warm up with."""

    name: str
    requests: list[bytes]
    warm_up: list[bytes]
    redis: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    saturated: Result
    steady: Result
    cpu_ms: float
    """Of the server for each request at the fixed rate."""


@dataclass(slots=True)
class Measurement:
    options: argparse.Namespace
    rows: list[report.Row] = field(default_factory=list)
    good: bool = True

    def measure(self, server: Started, route: Route) -> Cost:
        seconds, rate = self.options.seconds, self.options.rate
        saturate(server.port, route.warm_up, seconds=WARM_UP_SECONDS)
        half = len(route.requests) * 9 // 10 or 1  # so that what is asked once is asked once
        saturated = saturate(server.port, route.requests[:half], seconds=seconds)
        before = server.cpu_seconds()
        rest = route.requests[half:] or route.requests
        steady = at_rate(server.port, rest, rate=rate, seconds=seconds)
        return Cost(saturated, steady, (server.cpu_seconds() - before) * 1000 / steady.count)

    def add(self, name: str, cost: Cost, base: Cost | None) -> None:
        rows = list(self._rows(name, cost, base or cost))
        self.rows += (
            rows if base else (report.row(each.what, each.value, each.unit) for each in rows)
        )
        for load in (cost.saturated, cost.steady):
            if load.failures:
                print(f"{name}: {load.failures} of {load.count} failed; {load.first_failure}")
                self.good = False
        self.good &= cost.steady.p95 <= WANTED_P95_MS

    def _rows(self, name: str, cost: Cost, base: Cost) -> Iterator[report.Row]:
        saturated, steady, row = cost.saturated, cost.steady, report.row
        yield row(f"{name}, saturated", saturated.rate, "requests/s", base.saturated.rate)
        yield row(f"{name}, saturated, p99", saturated.p99, "ms")
        at = f"{name}, {self.options.rate:g}/s"
        yield row(f"{at}, p50", steady.p50, "ms")
        yield row(f"{at}, p95", steady.p95, "ms")
        yield row(f"{at}, p99", steady.p99, "ms")
        yield row(f"{at}, server's CPU each", cost.cpu_ms, "CPU ms")


def main() -> None:
    parser = argparse.ArgumentParser(description="the cost of reads")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--only", help="measure this route alone", metavar="NAME")
    report.add_arguments(parser)
    options = parser.parse_args()
    print(report.machine())
    found = Measurement(options)
    with tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder:
        _measure_all(found, Path(folder))
    report.finish(report.Report("reads", tuple(found.rows)), options.json)
    sys.exit(0 if found.good else 1)


def _measure_all(found: Measurement, folder: Path) -> None:
    health = [get("/health")]
    with started(bare.TRIO) as server:
        base = found.measure(server, Route("bare", health, health))
    found.add("a bare server", base, None)
    with filled_database(folder) as (url, owners):
        wanted = [each for each in routes(owners) if found.options.only in (None, each.name)]
        redis = RedisServer(folder)
        try:
            for redis_url in ("", redis.url):
                asked = [each for each in wanted if each.redis == bool(redis_url)]
                if not asked:
                    continue
                with started(front_end.SERVE, url, redis_url, "1") as server:
                    for route in asked:
                        found.add(route.name, found.measure(server, route), base)
        finally:
            redis.client.close()
            redis.kill()


def routes(owners: list[str]) -> list[Route]:
    balances = [get(f"/api/vault/balance/{owner}") for owner in owners]
    often, once = balances[:OFTEN_ASKED], balances[OFTEN_ASKED:]
    history = [get(f"/api/vault/transactions/{owner}") for owner in owners[:WITH_HISTORY]]
    nonces = [post("/api/auth/nonce", b'{"owner":"%s"}' % each.encode()) for each in owners[:1000]]
    health, used = [get("/health")], [get("/api/analytics/utilization")]
    return [
        Route("health", health, health),
        Route("balance hit", often, often),
        Route("balance miss", once, often),
        Route("history", history, history),
        Route("utilization", used, used),
        Route("nonce", nonces, nonces),
        Route("balance hit, with Redis", often, often, redis=True),
    ]


if __name__ == "__main__":
    main()
