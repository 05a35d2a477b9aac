"""One long scenario, run on demand by `make scenario-long`, with another seed by SEED=7.

5,000 transactions at 60 a second, 30 percent of the notifications lost, forks and every other kind
of fault throughout, no RPC for a minute, and five kill -9. It takes a few minutes.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.harness.processes import ServerForker
from tests.scenario.clients import IGNORE_HTTPX_WARNING
from tests.scenario.context import scenario_context
from tests.scenario.scenario_runner import Scenario, run_scenario
from tests.scenario.test_scenario import seeds

pytestmark = pytest.mark.filterwarnings(IGNORE_HTTPX_WARNING)


@pytest.mark.parametrize("seed", seeds(os.environ.get("SCENARIO_SEEDS", "0")))
async def test_the_database_matches_the_chain_after_a_long_scenario(
    seed: int, forker: ServerForker, database_url: str, tmp_path: Path
) -> None:
    started = time.monotonic()
    scenario = Scenario(
        seed=seed,
        actions=5_000,
        owners=40,
        clients=6,
        requests=40,
        faults=120,
        drop_rate=0.3,
        blackout_seconds=60.0,
        kills=5,
        max_kill_interval=60.0,
        idle_timeout=300.0,
    )
    async with scenario_context(forker, tmp_path, database_url) as context:
        outcome = await run_scenario(context, scenario)
    truth, server = outcome.truth, context.server
    print(  # noqa: T201
        f"{len(truth.landed)} transactions, {len(truth.events)} events, {server.kills} kills"
    )
    print(f"{time.monotonic() - started:.0f} s, faults: {dict(outcome.injected)}")  # noqa: T201
    print(f"requests: {dict(Counter(intent.outcome for intent in outcome.intents))}")  # noqa: T201
    assert not outcome.violations, "\n".join(map(str, outcome.violations))
