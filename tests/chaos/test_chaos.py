"""After faults of everything that two replicas depend on, they recover by themselves.

No submission is doubled, and the books are what the chain says. `make chaos` runs it for longer.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.chaos_run import run_chaos
from tests.chaos.dependencies import chaos
from tests.harness.processes import ServerForker
from tests.redis_server import RedisServer
from tests.scenario.clients import IGNORE_HTTPX_WARNING

pytestmark = [pytest.mark.slow(seconds=80), pytest.mark.filterwarnings(IGNORE_HTTPX_WARNING)]

READY_SECONDS = 30.0
"""From the end of all faults."""
MEMORY_GROWTH = 0.15
SHORT_GROWTH = 0.5
"""Of a short run, in which memory still settles: more is a leak."""


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    return empty_database_url


async def test_two_replicas_survive_faults_of_all_that_they_depend_on(
    forker: ServerForker, database_url: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    seed = int(os.environ.get("CHAOS_SEED", "0"))
    seconds = 60 * float(os.environ.get("CHAOS_MINUTES", "1"))
    long = seconds > 300
    async with chaos(forker, tmp_path, database_url, redis_server) as system:
        report = await run_chaos(
            system,
            seed=seed,
            seconds=seconds,
            calm=60.0 if long else 10.0,
            fault_seconds=(1.0, 12.0) if long else (0.5, 5.0),
        )
    print(report)  # noqa: T201
    assert not report.violations, "\n".join([f"SEED={seed}", *map(str, report.violations)])
    assert report.growth < (MEMORY_GROWTH if long else SHORT_GROWTH)
    if long:  # a busy machine delays a short run's recovery
        assert report.slowest_recovery < READY_SECONDS
