"""Benchmarks of growth: more cores, WebSockets, writers and replicas, and what saturates first.

    .venv/bin/python -m bench.growth [--only outbox] [--seconds 2] [--charts DIR] [--json FILE]

Five parts: `reads` and `sockets` with one and two processes, the `outbox` with its head row,
`notify` with listeners and one broadcaster, and `designs` that could take their place. `--charts`
draws the curves of docs/growth.md. Baselines: reads, the rate of one process; writers, the same
rows written without head row or notification; designs, the outbox as it is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import trio

from bench import report
from bench.growth import outbox, processes
from bench.growth.charts import draw
from bench.growth.prototypes import comparison
from cvms.store.postgres.database import open_database

Part = Callable[[Path, float], Iterator[report.Row]]


def main() -> None:
    parser = argparse.ArgumentParser(description="what growth brings")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be repeated")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--least", type=int, default=1, help="WebSockets")
    parser.add_argument("--most", type=int, default=10_000, help="WebSockets")
    parser.add_argument("--charts", type=Path, metavar="DIR")
    report.add_arguments(parser)
    options = parser.parse_args()
    parts = dict(PARTS)
    least, most = options.least, options.most
    clients = tuple(each for each in processes.CLIENTS if least <= each <= most)
    parts["sockets"] = partial(processes.sockets, clients=clients)
    rows: list[report.Row] = []
    for name in options.only or PARTS:
        print(f"{name}: {report.machine()}", flush=True)
        with tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder:
            rows += parts[name](Path(folder), options.seconds)
    report.finish(report.Report("growth", tuple(rows)), options.json)
    if options.charts is not None:
        draw(rows, options.charts)


def _on_logical_postgres(
    measure: Callable[[str, float], Iterator[report.Row]], folder: Path, seconds: float
) -> Iterator[report.Row]:
    with comparison.logical_postgres(folder / "data") as url:
        trio.run(_prepare, url)
        yield from measure(url, seconds)


async def _prepare(url: str) -> None:
    async with open_database(url) as database:
        await database.prepare()


PARTS: dict[str, Part] = {
    "reads": processes.reads,
    "sockets": processes.sockets,
    "outbox": partial(_on_logical_postgres, outbox.writers),
    "notify": partial(_on_logical_postgres, outbox.readers),
    "designs": partial(_on_logical_postgres, comparison.measure),
}


if __name__ == "__main__":
    main()
