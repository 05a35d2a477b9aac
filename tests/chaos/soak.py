"""A soak, run on demand by `make soak`: mixed load without faults on two replicas.

It samples the memory and the file descriptors of both, and writes them as a chart.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import psutil
import trio

from tests.chaos.chaos_run import check_all, start_load
from tests.chaos.dependencies import Chaos, chaos
from tests.chaos.line_chart import Chart, draw_charts
from tests.harness.processes import ServerForker
from tests.paths import ROOT
from tests.redis_server import RedisServer

SAMPLES = 180
MEGABYTE = 2**20

Samples = dict[str, list[tuple[float, float]]]


async def test_memory_and_file_descriptors_stay_level_under_mixed_load(
    forker: ServerForker, empty_database_url: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    minutes = float(os.environ.get("SOAK_MINUTES", "30"))
    chart = Path(os.environ.get("SOAK_CHART", ROOT / "docs" / "soak.svg"))
    memory: Samples = defaultdict(list)
    files: Samples = defaultdict(list)
    async with chaos(forker, tmp_path, empty_database_url, redis_server) as system:
        async with start_load(system, seed=0) as load:
            began = trio.current_time()
            for number in range(SAMPLES + 1):
                await trio.sleep_until(began + number * minutes * 60 / SAMPLES)
                _sample(system, (trio.current_time() - began) / 60, memory, files)
        violations = await check_all(system, load)
    drawn = [
        Chart("Resident memory in MB", memory, "minutes"),
        Chart("File descriptors", files, "minutes"),
    ]
    await trio.Path(chart).write_text(draw_charts(drawn))
    print(f"{minutes:g} minutes, {dict(load.replies)}")  # noqa: T201
    for name in memory:
        for line in (memory[name], files[name]):
            quarters = [line[place * SAMPLES // 4][1] for place in range(5)]
            print(name, *(f"{value:.1f}" for value in quarters))  # noqa: T201
    assert not violations, "\n".join(map(str, violations))


def _sample(system: Chaos, minute: float, memory: Samples, files: Samples) -> None:
    for name, replica in zip(("first replica", "second replica"), system.replicas, strict=True):
        process = psutil.Process(replica.server.pid)
        memory[name].append((minute, process.memory_info().rss / MEGABYTE))
        files[name].append((minute, process.num_fds()))
