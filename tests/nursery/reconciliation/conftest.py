"""Every test of this folder runs twice: with fast finality, and with that of a real chain."""

from __future__ import annotations

import pytest

from cvms.localnet import Timing
from tests.conftest import FAST

REAL = Timing(slot_seconds=0.4, confirmed_lag=1, finalized_lag=31)


@pytest.fixture(params=[FAST, REAL], ids=["fast", "real"])
def timing(request: pytest.FixtureRequest) -> Timing:
    """The lags of a test's chain. With real ones, only a moved clock finalizes anything in time."""
    timing: Timing = request.param
    return timing
