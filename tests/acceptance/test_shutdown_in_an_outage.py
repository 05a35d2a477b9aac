"""SIGTERM while dependencies fail: the service ends by itself, with status 0 and no traceback."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
import trio
from solders.keypair import Keypair

from tests.acceptance.conftest import System
from tests.harness.processes import COMPONENTS, HANG_SECONDS, Server, until_ready
from tests.harness.tcp_proxy import TcpProxy, tcp_proxy
from tests.nursery.database_proxy import database_proxy
from tests.scenario.clients import IGNORE_HTTPX_WARNING

pytestmark = [pytest.mark.slow(seconds=15), pytest.mark.filterwarnings(IGNORE_HTTPX_WARNING)]

CLIENTS = 3
ROUNDS = 3
MOMENTS = (0.0, 0.02, 0.2, 2.0)
"""Seconds from an outage until SIGTERM, at most: before, while and after it is noticed."""


@pytest.mark.parametrize("seed", range(4))
async def test_it_ends_with_status_0_whatever_its_dependencies_do(
    system: System, database_url: str, seed: int
) -> None:
    rng = random.Random(seed)
    async with _proxies(system, database_url) as proxies:
        for _ in range(ROUNDS):
            async with system.serve() as server, trio.open_nursery() as nursery:
                await until_ready(server.url, server, components=COMPONENTS)
                for _ in range(CLIENTS):
                    nursery.start_soon(_send_requests, server)
                await trio.sleep(0.3 * rng.random())
                faults = [rng.choice(FAULTS) for _ in proxies]
                for proxy, begin in zip(proxies, faults, strict=True):
                    begin(proxy, rng)
                await trio.sleep(rng.choice(MOMENTS) * rng.random())
                status = await server.stop(within=HANG_SECONDS)
                nursery.cancel_scope.cancel()
            log = (system.folder / "server.log").read_text()
            names = [begin.__name__ for begin in faults]
            assert (status, "Traceback" in log) == (0, False), f"{names}: {log[-8000:]}"
            for proxy in proxies:
                proxy.heal()


async def _send_requests(server: Server) -> None:
    """Ask what needs the database, and what needs the chain, until cancelled."""
    async with httpx.AsyncClient(timeout=HANG_SECONDS) as http:
        while True:
            owner = str(Keypair().pubkey())
            try:
                await http.post(f"{server.url}/api/auth/nonce", json={"owner": owner})
                await http.post(f"{server.url}/api/vault/initialize", json={"user_pubkey": owner})
            except httpx.TransportError:
                await trio.sleep(0.05)  # it has stopped accepting


@asynccontextmanager
async def _proxies(system: System, database_url: str) -> AsyncIterator[list[TcpProxy]]:
    """Put proxies before the database, the RPC and PubSub, in the settings of the next server."""
    port = int(system.at.rpc_url.rpartition(":")[2])
    async with (
        database_proxy(database_url) as database,
        tcp_proxy(partial(trio.open_tcp_stream, "127.0.0.1", port)) as rpc,
        tcp_proxy(partial(trio.open_tcp_stream, "127.0.0.1", port + 1)) as pubsub,
    ):
        system.environ["DATABASE_URL"] = database.uri
        system.environ["SOLANA_RPC_URL"] = f"http://127.0.0.1:{rpc.port}"
        system.environ["SOLANA_WS_URL"] = f"ws://127.0.0.1:{pubsub.port}"
        yield [database.tcp, rpc, pubsub]


# Faults


def _none(_: TcpProxy, __: random.Random) -> None:
    """Leave one dependency as it is."""


def _cut(proxy: TcpProxy, _: random.Random) -> None:
    proxy.cut()


def _refuse(proxy: TcpProxy, _: random.Random) -> None:
    proxy.refuse()


def _stop(proxy: TcpProxy, _: random.Random) -> None:
    proxy.stop()


def _corrupt(proxy: TcpProxy, rng: random.Random) -> None:
    proxy.corrupt = lambda data: rng.randbytes(len(data))


FAULTS = (_none, _cut, _refuse, _stop, _corrupt)
