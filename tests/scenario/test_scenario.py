"""Whatever happens to the service and the chain, the books equal the chain afterwards.

Each seed is another course of events: `make scenario SEEDS=7,12-20` plays those, and a failure
says how to play it again.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scenario.clients import LEFT_BY_HTTPX
from tests.scenario.play import Script, play
from tests.scenario.scene import scene
from tests.scenario.servers import Zygote

IN_THE_SUITE = "0-23"

pytestmark = pytest.mark.filterwarnings(LEFT_BY_HTTPX)


def seeds(text: str) -> list[int]:
    """`7,12-14` is 7, 12, 13 and 14."""
    ranges = (each.partition("-") for each in text.split(","))
    return [seed for first, _, last in ranges for seed in range(int(first), int(last or first) + 1)]


@pytest.mark.parametrize("seed", seeds(os.environ.get("SCENARIO_SEEDS", IN_THE_SUITE)))
async def test_the_books_equal_the_chain_after(
    seed: int, servers: Zygote, database_url: str, tmp_path: Path
) -> None:
    async with scene(servers, tmp_path, database_url) as stage:
        outcome = await play(stage, Script(seed=seed))
    again = f"make scenario SEEDS={seed}"
    assert not outcome.broken, "\n".join([again, *map(str, outcome.broken)])
