"""What a million vaults cost, beside ten thousand: every read, and all that the service does.

    .venv/bin/python -m bench.vaults [--small 10000] [--large 1000000] [--lines 20] [--data FOLDER]

Two embedded PostgreSQL servers with the books of so many vaults, which are generated unless the
folder has them from an earlier run. Each read is timed for other vaults each time, in turn on both,
after one round that warms the caches. The goal for a read, a batch or a page is 1.2 times its time
with few vaults, or half a millisecond more; for work on everything 1.2 times its time per vault or
line. The exit code says whether all goals are met.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import trio

from bench.report import Report, row
from bench.vaults.books import Books, books
from bench.vaults.complete_pass import complete_pass
from bench.vaults.generate import configure, generate
from bench.vaults.reads import reads_of
from bench.vaults.upkeep import Upkeep
from cvms.config.loader import load_programs
from cvms.dev.postgres import embedded_postgres
from cvms.store.postgres.database import Database, open_database

PARTS = ("reads", "pass", "upkeep", "whole")
ROUNDS = 15
GOAL = 1.2
SLACK_MS = 0.5
"""More than that is noticed: a level more of an index, and a page that is not in memory."""


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement: the time with few vaults and with many."""

    what: str
    few: float
    many: float
    unit: str

    @property
    def ratio(self) -> float:
        return self.many / self.few

    @property
    def met(self) -> bool:
        slack = SLACK_MS if self.unit == "ms" else 0.0
        return self.many <= max(self.few * GOAL, self.few + slack)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", type=int, default=10_000, help="vaults of the baseline")
    parser.add_argument("--large", type=int, default=1_000_000, help="vaults")
    parser.add_argument("--lines", type=int, default=20, help="of history for each vault")
    parser.add_argument("--data", type=Path, help="where the databases are, or are kept")
    parser.add_argument("--only", choices=PARTS, help="a part of it")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    options = parser.parse_args()
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with ExitStack() as stack:
        folder = options.data or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="cvms-bench-"))
        )
        servers = [
            stack.enter_context(_server(folder / str(count), count, count * options.lines))
            for count in (options.small, options.large)
        ]
        rows = trio.run(_measure, servers, options.only)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    _print(rows, options.small, options.large)
    print(f"\nThis process took at most {peak} MiB")
    if options.json:
        options.json.write_bytes(msgspec.json.encode(_report(rows)))
    return 0 if all(each.met for each in rows) else 1


@contextmanager
def _server(data: Path, vaults: int, lines: int) -> Iterator[tuple[str, Books]]:
    """Run a server with the books in `data`, generated unless they are there."""
    note = data.with_suffix(".json")
    if not note.exists():
        with embedded_postgres(data) as url:
            configure(url)
        with embedded_postgres(data) as url:
            planned = books(vaults, lines, load_programs({}))
            generate(url, planned, report=lambda text: print(f"  {text}", flush=True))
        note.write_text(json.dumps({"lines": lines, "end": planned.end.isoformat()}))
    stored = json.loads(note.read_text())
    end = datetime.fromisoformat(stored["end"])
    with embedded_postgres(data) as url:
        yield url, Books(vaults, stored["lines"], end, load_programs({}))


async def _measure(servers: list[tuple[str, Books]], only: str | None) -> list[Row]:
    few, many = servers
    async with open_database(few[0]) as small, open_database(many[0]) as large:
        before, now = await _start(small), await _start(large)
        pair = (Upkeep(small, few[1]), Upkeep(large, many[1]))
        rows = [Row("start: schema and connections", before, now, "ms")]
        if only in (None, "reads"):
            rows += await _reads(pair)
        if only in (None, "pass"):  # before anything is written
            rows += await _pass(pair)
        if only in (None, "upkeep"):
            rows += await _upkeep(pair)
        if only in (None, "whole"):
            rows += await _whole(pair)
    return rows


async def _start(database: Database) -> float:
    begin = time.perf_counter()
    await database.prepare()
    return (time.perf_counter() - begin) * 1000


async def _reads(pair: tuple[Upkeep, Upkeep]) -> list[Row]:
    numbers = [[_number(each.planned, turn) for turn in range(ROUNDS)] for each in pair]
    medians = []
    for each, chosen in zip(pair, numbers, strict=True):
        took: dict[str, list[float]] = {}
        async with each.database.dedicated(query_timeout=600) as conn:
            for warm in (False, True):
                for number in chosen:
                    for name, ask in reads_of(each.planned, number).items():
                        begin = time.perf_counter()
                        await ask(conn)
                        if warm:
                            took.setdefault(name, []).append(time.perf_counter() - begin)
        medians.append({name: statistics.median(times) * 1000 for name, times in took.items()})
    return _rows(medians[0], medians[1])


async def _pass(pair: tuple[Upkeep, Upkeep]) -> list[Row]:
    few, many = [await _pass_seconds(each) for each in pair]
    return [
        Row("reconciliation: a complete pass, per vault", few[0], many[0], "µs"),
        Row("reconciliation: CPU of ours in a pass, per vault", few[1], many[1], "µs"),
    ]


async def _pass_seconds(each: Upkeep) -> list[float]:
    count = each.planned.vaults
    took = await complete_pass(each.database, each.planned)
    print(f"  {count} vaults: {took}", flush=True)
    return [seconds / count * 1e6 for seconds in (took.pages, took.cpu)]


async def _upkeep(pair: tuple[Upkeep, Upkeep]) -> list[Row]:
    medians = []
    for each in pair:
        found = {}
        for name, work in each.repeated().items():
            took = [await work(_number(each.planned, turn % 5)) for turn in range(10)]
            found[name] = statistics.median(took[5:]) * 1000
        medians.append(found)
    return _rows(medians[0], medians[1])


async def _whole(pair: tuple[Upkeep, Upkeep]) -> list[Row]:
    medians: list[dict[str, float]] = []
    for each in pair:
        found = {}
        for name, (units, work) in each.whole().items():
            seconds = await work()
            print(f"  {name}: {seconds:.1f} s for {units}", flush=True)
            found[name] = seconds / units * 1_000_000
        medians.append(found)
    return [Row(name, medians[0][name], medians[1][name], "µs") for name in medians[0]]


def _number(planned: Books, turn: int) -> int:
    return (turn * 7_919 + 13) * 101 % planned.vaults


def _rows(few: Mapping[str, float], many: Mapping[str, float]) -> list[Row]:
    return [Row(name, few[name], many[name], "ms") for name in few]


def _print(rows: list[Row], small: int, large: int) -> None:
    print(f"\n| what | {small:,} vaults | {large:,} vaults | ratio |\n|---|---|---|---|")
    for each in rows:
        mark = "" if each.met else " **over**"
        print(
            f"| {each.what} | {each.few:.2f} {each.unit} | {each.many:.2f} {each.unit} | "
            f"{each.ratio:.2f}{mark} |"
        )


def _report(rows: list[Row]) -> Report:
    return Report("vaults", tuple(row(each.what, each.many, each.unit, each.few) for each in rows))


if __name__ == "__main__":
    sys.exit(main())
