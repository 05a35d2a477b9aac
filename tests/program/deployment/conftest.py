"""The first release on a chain, with vaults in use, before the upgrade."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair

from tests.program.deployment.exchange import (
    FRIEND,
    Exchange,
    fill_vault,
    open_exchange,
    open_vault,
)
from tests.program.harness.positions import open_position


@pytest.fixture
def exchange() -> Exchange:
    """The first release, on which governance has used all that it may set."""
    exchange = open_exchange()
    exchange.govern("set_cpi_enforced", True)
    exchange.govern("set_risk_level", 3)
    return exchange


@pytest.fixture
def full(exchange: Exchange) -> Keypair:
    """The owner of a vault with something in every list and field."""
    owner = open_vault(exchange, 10_000, wallet=500)
    fill_vault(exchange, owner, [FRIEND])
    return owner


@pytest.fixture
def trader(exchange: Exchange) -> Keypair:
    """The owner of a vault with an open position and no guards."""
    owner = open_vault(exchange, 1_000)
    exchange.run(open_position(owner.pubkey(), 600), owner)
    return owner


@pytest.fixture
def saver(exchange: Exchange) -> Keypair:
    """The owner of a vault with 100 units and nothing else."""
    return open_vault(exchange, 100)
