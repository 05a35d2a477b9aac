"""The whole service on a real chain, for clients that generators make of its document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.generated_clients.workshop import AMOUNT, Workshop
from tests.harness.localnet import Localnet
from tests.harness.service import Served, whole_service
from tests.http.wallets import funded


@pytest.fixture
async def system(database_url: str, localnet: Localnet) -> AsyncIterator[Served]:
    async with whole_service(database_url, **localnet.settings) as served:
        yield served


@pytest.fixture
async def workshop(system: Served, tmp_path: Path) -> Workshop:
    """The service's document in an empty folder, and a wallet with `AMOUNT` of tokens."""
    wallet = await funded(system, tokens=AMOUNT)
    document = tmp_path / "openapi.json"
    document.write_text((await system.get("/openapi.json")).text)
    return Workshop(tmp_path, document, system.url, wallet)
