"""Outages of the database and of the RPC: requests fail fast with a named error, then recover."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.dev.postgres import embedded_postgres
from tests.acceptance.conftest import System, localnet_arguments
from tests.harness.processes import HANG_SECONDS, cvms, until_ready

pytestmark = pytest.mark.slow

AT_ONCE = 1.0
"""Seconds, below the shortest deadline (2 s for a connection to the database) of a call that has to
find out about the outage by itself.
"""
ATTEMPTS = 20
"""Requests of which one has to be answered at once. A deadline would delay every one of them, a
machine that is busy with something else delays only some.
"""

Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


async def test_the_service_survives_a_database_outage(system: System) -> None:
    with tempfile.TemporaryDirectory(prefix="cvms-pg-") as folder:
        data = Path(folder) / "data"
        async with AsyncExitStack() as stack:
            with embedded_postgres(data) as uri:
                system.environ["DATABASE_URL"] = uri
                service = await stack.enter_async_context(system.serve())
                await until_ready(system.at.url, service)

            parts = await _until_not_ready(system.at.url, "database")
            assert parts["rpc"]["ok"]
            assert await _traffic(system) == 503
            reply = await _refused_at_once(partial(_nonce, system), "database_unavailable")
            assert int(reply.headers["Retry-After"]) >= 1

            with embedded_postgres(data):
                await until_ready(system.at.url, service)
                async with httpx.AsyncClient() as http:
                    assert (await _nonce(system, http)).status_code == 200
                await service.stop()


async def test_the_service_survives_an_rpc_outage(system: System) -> None:
    port = int(system.at.rpc_url.rpartition(":")[2])
    async with system.serve() as service:
        await until_ready(system.at.url, service)
        await system.chain.kill()
        parts = await _until_not_ready(system.at.url, "rpc")
        assert parts["database"]["ok"]
        assert await _traffic(system) == 200  # or no load balancer would have a replica left
        initialize = partial(_initialize, system)
        await _refused_at_once(initialize, "chain_unavailable")
        async with httpx.AsyncClient() as http:
            assert (await _nonce(system, http)).status_code == 200

        async with cvms(*localnet_arguments(port), folder=system.folder) as chain:
            await chain.line("RPC")
            await until_ready(system.at.url, service)
            async with httpx.AsyncClient() as http:
                reply = await initialize(http)
            assert reply.status_code == 422, reply.text  # a wallet without SOL: the chain answers


async def _until_not_ready(url: str, part: str) -> Any:
    """Wait until GET /ready answers 503 because of `part`, and return the parts."""
    with trio.fail_after(HANG_SECONDS):
        async with httpx.AsyncClient() as http:
            while True:
                reply = await http.get(f"{url}/ready")
                parts = reply.json().get("parts", {})
                if reply.status_code == 503 and not parts[part]["ok"]:
                    return parts
                await trio.sleep(0.05)


async def _refused_at_once(ask: Ask, code: str) -> httpx.Response:
    """Ask until the refusal, which every reply must be, comes at once. Return that reply."""
    async with httpx.AsyncClient(timeout=HANG_SECONDS) as http:
        for _ in range(ATTEMPTS):
            started = trio.current_time()
            reply = await ask(http)
            assert (reply.status_code, reply.json()["code"]) == (503, code)
            if trio.current_time() - started < AT_ONCE:
                return reply
    raise AssertionError(f"none of {ATTEMPTS} requests was refused within {AT_ONCE} s")


async def _traffic(system: System) -> int:
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{system.at.url}/ready/traffic")).status_code


async def _nonce(system: System, http: httpx.AsyncClient) -> httpx.Response:
    owner = {"owner": str(Keypair().pubkey())}
    return await http.post(f"{system.at.url}/api/auth/nonce", json=owner)


async def _initialize(system: System, http: httpx.AsyncClient) -> httpx.Response:
    owner = {"user_pubkey": str(Keypair().pubkey())}
    return await http.post(f"{system.at.url}/api/vault/initialize", json=owner)
