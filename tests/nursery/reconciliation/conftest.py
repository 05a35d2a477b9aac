"""Every test of this folder runs twice: with fast finality, and with that of a real chain."""

from __future__ import annotations

import pytest

from cvms.localnet import Timing
from tests.harness.localnet import FAST
from tests.nursery.world import World

REAL = Timing(slot_seconds=0.4, confirmed_lag=1, finalized_lag=31)


@pytest.fixture(params=[FAST, REAL], ids=["fast", "real"])
def timing(request: pytest.FixtureRequest) -> Timing:
    """The lags of a test's chain. With real ones, only a moved clock finalizes anything in time."""
    timing: Timing = request.param
    return timing


@pytest.fixture
def settings(world: World, database_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings of `cvms index`, in the environment."""
    found = {"DATABASE_URL": database_url, "SOLANA_RPC_URL": world.chain.rpc_url}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found
