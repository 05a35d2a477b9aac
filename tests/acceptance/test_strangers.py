"""A stranger with many connections stops nobody else, and not the probes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.config.connection_settings import ListenSettings
from tests.acceptance.conftest import System
from tests.harness.free_ports import free_port
from tests.harness.processes import until_ready

pytestmark = pytest.mark.slow

STRANGER = "127.0.0.2"  # all of 127.0.0.0/8 is this machine
SLOW = (
    b"POST /api/auth/nonce HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 200\r\n\r\n{"
)


@asynccontextmanager
async def stranger(
    url: str, count: int, *, sending: bytes
) -> AsyncIterator[list[trio.SocketStream]]:
    """Open many connections from one address, and send the same on each."""
    port = int(url.rpartition(":")[2])
    async with AsyncExitStack() as stack:
        streams = []
        for _ in range(count):
            stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=STRANGER)
            streams.append(await stack.enter_async_context(stream))
            await stream.send_all(sending)
        yield streams


async def test_bodies_that_do_not_arrive_take_no_place_from_others(system: System) -> None:
    owner = {"owner": str(Keypair().pubkey())}
    async with system.serve() as service, httpx.AsyncClient(base_url=system.at.url) as http:
        await until_ready(system.at.url, service)
        async with stranger(system.at.url, 300, sending=SLOW):
            for _ in range(20):
                assert (await http.get("/api/vault/tvl")).status_code == 200
                assert (await http.post("/api/auth/nonce", json=owner)).status_code == 200
        assert (await http.get("/ready")).status_code == 200


async def test_the_connections_of_one_address_are_bounded_and_probes_are_answered(
    system: System,
) -> None:
    bound, admin_port = ListenSettings().per_address, free_port()
    async with (
        system.serve(ADMIN_PORT=str(admin_port)) as service,
        httpx.AsyncClient(base_url=system.at.url) as http,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin_port}") as admin,
    ):
        await until_ready(system.at.url, service)
        async with stranger(system.at.url, bound + 50, sending=b"") as streams:
            with trio.fail_after(30):
                for stream in streams[:50]:  # which made room for the later ones
                    assert await _is_closed(stream)
            for probe in ("/health", "/ready", "/ready/traffic", "/metrics"):
                assert (await http.get(probe)).status_code == 200
                assert (await admin.get(probe)).status_code == 200
            assert (await http.get("/api/vault/tvl")).status_code == 200
            assert (await admin.get("/api/vault/tvl")).status_code == 404
            await streams[-1].send_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await streams[-1].receive_some()).startswith(b"HTTP/1.1 200 ")
            metrics = (await admin.get("/metrics")).text
            assert 'cvms_http_refused_total{reason="evicted"} 50.0' in metrics


async def _is_closed(stream: trio.SocketStream) -> bool:
    try:
        return not await stream.receive_some()
    except trio.BrokenResourceError:
        return True
