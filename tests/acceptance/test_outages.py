"""Outages of the database and of the RPC: requests fail fast with a named error, then recover."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.dev.postgres import embedded_postgres
from tests.acceptance.conftest import System, localnet_arguments
from tests.harness.processes import cvms, until_ready

pytestmark = pytest.mark.slow

# Far below any call's deadline: the service knows of the outage and does not try the call first.
AT_ONCE = 1.0


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
            with trio.fail_after(AT_ONCE):
                reply = await _nonce(system)
            assert (reply.status_code, reply.json()["code"]) == (503, "database_unavailable")
            assert int(reply.headers["Retry-After"]) >= 1

            with embedded_postgres(data):
                await until_ready(system.at.url, service)
                assert (await _nonce(system)).status_code == 200
                await service.stop()


async def test_the_service_survives_an_rpc_outage(system: System) -> None:
    port = int(system.at.rpc_url.rpartition(":")[2])
    async with system.serve() as service:
        await until_ready(system.at.url, service)
        await system.chain.kill()
        parts = await _until_not_ready(system.at.url, "rpc")
        assert parts["database"]["ok"]
        owner = {"user_pubkey": str(Keypair().pubkey())}
        with trio.fail_after(AT_ONCE):
            async with httpx.AsyncClient() as http:
                reply = await http.post(f"{system.at.url}/api/vault/initialize", json=owner)
        assert (reply.status_code, reply.json()["code"]) == (503, "chain_unavailable")
        assert (await _nonce(system)).status_code == 200

        async with cvms(*localnet_arguments(port), folder=system.folder) as chain:
            await chain.line("RPC")
            await until_ready(system.at.url, service)
            async with httpx.AsyncClient() as http:
                reply = await http.post(f"{system.at.url}/api/vault/initialize", json=owner)
            assert reply.status_code == 422, reply.text  # a wallet without SOL: the chain answers


async def _until_not_ready(url: str, part: str) -> Any:
    """Wait until GET /ready answers 503 because of `part`, and return the parts."""
    with trio.fail_after(20):
        async with httpx.AsyncClient() as http:
            while True:
                reply = await http.get(f"{url}/ready")
                parts = reply.json().get("parts", {})
                if reply.status_code == 503 and not parts[part]["ok"]:
                    return parts
                await trio.sleep(0.05)


async def _nonce(system: System) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.post(
            f"{system.at.url}/api/auth/nonce", json={"owner": str(Keypair().pubkey())}
        )
