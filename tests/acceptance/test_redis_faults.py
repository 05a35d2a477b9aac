"""Faults of Redis: reads stay right, the service is ready, and it ends in order."""

from __future__ import annotations

from contextlib import suppress

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.client import Wallet, open_client
from tests.acceptance.chain import fund
from tests.acceptance.conftest import System
from tests.harness.processes import HANG_SECONDS, until_ready
from tests.redis_proxy import FAULTS, Fault, redis_proxy
from tests.redis_server import RedisServer

pytestmark = pytest.mark.slow(seconds=25)

OWNER = Keypair()
TOTAL = 1000
SLOW = Fault(delay=(0.2, 0.6))
READERS = 8
LIMITS = dict.fromkeys(("RATE_LIMIT_ADDRESS", "RATE_LIMIT_GLOBAL"), "1000000/60")


async def test_no_fault_of_redis_stops_reads_or_the_end(
    system: System, redis_server: RedisServer
) -> None:
    async with (
        redis_proxy(redis_server.socket_path) as proxy,
        system.serve(REDIS_URL=proxy.url, **LIMITS) as service,
        httpx.AsyncClient(base_url=system.at.url, timeout=HANG_SECONDS) as http,
    ):
        await until_ready(system.at.url, service)
        await _deposit(system)
        await _read_until_cached(http)
        for fault in FAULTS:
            proxy.set(fault)
            async with trio.open_nursery() as nursery:
                for _ in range(READERS):
                    nursery.start_soon(_read_often, http)
            await until_ready(system.at.url, service)
            proxy.clear()
            await _read_until_cached(http)

        proxy.set(SLOW)
        async with trio.open_nursery() as nursery:
            for _ in range(READERS):
                nursery.start_soon(_read_until_it_ends, http)
            await until_ready(system.at.url, service)
            assert await service.stop() == 0
            nursery.cancel_scope.cancel()
    assert '"in_order": true' in service.log()


async def _deposit(system: System) -> None:
    await fund(system.at.rpc_url, OWNER, system.at.programs.mint)
    async with open_client(system.at.url, wallet=Wallet(OWNER)) as client:
        await client.finish(await client.open_vault())
        await client.finish(await client.deposit(TOTAL))


async def _read(http: httpx.AsyncClient) -> bool:
    """Read the balance, and return whether it came from memory."""
    reply = await http.get(f"/api/vault/balance/{OWNER.pubkey()}")
    assert reply.status_code == 200, reply.text
    assert reply.json()["balance"] == TOTAL
    return bool(reply.json()["cached"])


async def _read_often(http: httpx.AsyncClient) -> None:
    for _ in range(20):
        await _read(http)


async def _read_until_cached(http: httpx.AsyncClient) -> None:
    with trio.fail_after(HANG_SECONDS):
        while not await _read(http):  # noqa: ASYNC110 - of another process
            await trio.sleep(0.05)


async def _read_until_it_ends(http: httpx.AsyncClient) -> None:
    with suppress(httpx.TransportError):
        while True:
            await _read(http)
