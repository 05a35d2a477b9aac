"""After every scenario of faults and kills, the database matches the chain.

Each seed is another scenario. `make scenario SEEDS=7,12-20` runs those, and a failure names the
command that repeats it.
"""

from __future__ import annotations

import os

import pytest
import trio

from cvms.localnet import Timing
from tests.provider_proxy.drawn_faults import DRAWS
from tests.scenario.clients import IGNORE_HTTPX_WARNING
from tests.scenario.context import TIMING, Place
from tests.scenario.scenario_runner import Scenario, run_scenario

DEFAULT_SEEDS = "0-23"
REAL_LAGS = Timing(slot_seconds=0.05, confirmed_lag=1, finalized_lag=31)
"""Those of a real chain: passes of the reconciler follow each other faster than finality."""
REAL_LAGS_EVERY = 8
"""Seeds, of which one has the lags of a real chain."""
AT_ONCE = 2
"""Scenarios, each of which waits for three quarters of its time."""
PROVIDER_FAULTS = (*DRAWS, "fork", "lost_sends")
PROVIDER_FAULT_SECONDS = 3.0
"""Longest time of a provider's fault: rounds of the indexer and passes of the reconciler."""

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(IGNORE_HTTPX_WARNING)]


def seeds(text: str) -> list[int]:
    """Parse a list of numbers and ranges: `7,12-14` is 7, 12, 13 and 14."""
    ranges = (item.partition("-") for item in text.split(","))
    return [seed for first, _, last in ranges for seed in range(int(first), int(last or first) + 1)]


SEEDS = seeds(os.environ.get("SCENARIO_SEEDS", DEFAULT_SEEDS))
GROUPS = [SEEDS[first : first + AT_ONCE] for first in range(0, len(SEEDS), AT_ONCE)]


@pytest.mark.parametrize("group", GROUPS, ids=str)
async def test_the_database_matches_the_chain(group: list[int], place: Place) -> None:
    async with trio.open_nursery() as nursery:
        for seed in group:
            nursery.start_soon(_matches, seed, place)


async def _matches(seed: int, place: Place) -> None:
    timing = REAL_LAGS if seed % REAL_LAGS_EVERY == 0 else TIMING
    async with place.context(str(seed), timing=timing) as context:
        outcome = await run_scenario(context, Scenario(seed=seed))
    command = f"make scenario SEEDS={seed}"
    assert not outcome.violations, "\n".join([command, *map(str, outcome.violations)])


@pytest.mark.parametrize("group", GROUPS, ids=str)
async def test_the_database_matches_the_chain_behind_providers_with_faults(
    group: list[int], place: Place
) -> None:
    """Even seeds have one provider, odd ones two, of which one at a time has faults."""
    async with trio.open_nursery() as nursery:
        for seed in group:
            nursery.start_soon(_matches_behind_providers, seed, place)


async def _matches_behind_providers(seed: int, place: Place) -> None:
    scenario = Scenario(
        seed=seed,
        fault_kinds=PROVIDER_FAULTS,
        longest_fault=PROVIDER_FAULT_SECONDS,
        kills=1,
        heals=True,
    )
    timing = REAL_LAGS if seed // 2 % REAL_LAGS_EVERY == 0 else TIMING
    async with place.context(
        str(seed), timing=timing, endpoints=1 + seed % 2, providers=True
    ) as context:
        outcome = await run_scenario(context, scenario)
    command = f"make scenario SEEDS={seed}"
    faults = f"faults: {dict(outcome.injected)}"
    assert not outcome.violations, "\n".join([command, faults, *map(str, outcome.violations)])
