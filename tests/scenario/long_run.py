"""One big scenario, on demand: `make scenario-long`, with SEED=7 another course of events.

5,000 transactions at 60 a second, 30 percent of the notifications lost, forks and every other
trouble all the way, no RPC at all for a minute, and five kill -9. About two minutes.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.scenario.clients import LEFT_BY_HTTPX
from tests.scenario.play import Script, play
from tests.scenario.scene import scene
from tests.scenario.servers import Zygote
from tests.scenario.test_scenario import seeds

pytestmark = pytest.mark.filterwarnings(LEFT_BY_HTTPX)


@pytest.mark.parametrize("seed", seeds(os.environ.get("SCENARIO_SEEDS", "0")))
async def test_the_books_equal_the_chain_after_a_long_storm(
    seed: int, servers: Zygote, database_url: str, tmp_path: Path
) -> None:
    began = time.monotonic()
    script = Script(
        seed=seed,
        acts=5_000,
        owners=40,
        clients=6,
        requests=40,
        strikes=120,
        lossy=0.3,
        blackout_seconds=60.0,
        kills=5,
        kills_apart=60.0,
        rest_seconds=300.0,
    )
    async with scene(servers, tmp_path, database_url) as stage:
        outcome = await play(stage, script)
    truth = outcome.truth
    print(  # noqa: T201
        f"{len(truth.landed)} transactions, {len(truth.events)} events, {stage.server.kills} kills"
    )
    print(f"{time.monotonic() - began:.0f} s, troubles: {dict(outcome.struck)}")  # noqa: T201
    print(f"requests: {dict(Counter(intent.outcome for intent in outcome.intents))}")  # noqa: T201
    assert not outcome.broken, "\n".join(map(str, outcome.broken))
