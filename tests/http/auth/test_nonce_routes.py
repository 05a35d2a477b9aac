"""A nonce is valid for its lifetime by the database's clock, wherever the process's clock is."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
from solders.keypair import Keypair

from tests.harness.service import running
from tests.http.wallets import signed
from tests.postgres_server import DatabaseClock

DAYS = 86_400


@pytest.mark.parametrize("difference", [-10 * DAYS, 0, 10 * DAYS])
async def test_clocks_that_differ_neither_shorten_nor_extend_a_nonce(
    database_url: str, difference: float
) -> None:
    clock = DatabaseClock(database_url, float(int(time.time()) + difference))
    wallet = Keypair()
    async with running(database_url, nonce_ttl=60) as service:
        reply = await service.post("/api/auth/nonce", {"owner": str(wallet.pubkey())})
        assert datetime.fromisoformat(reply.json()["expires_at"]).timestamp() == clock.now + 60
        body = await signed(service, wallet, "withdraw", ("amount", 1))
        clock.now += 59
        reply = await service.post("/api/vault/withdraw", body)
        assert reply.json()["code"] == "chain_unavailable"  # let through
        clock.now += 1
        reply = await service.post("/api/vault/withdraw", body)
        assert reply.json()["code"] == "nonce_expired"
