"""SIGTERM and Ctrl-C: answer in-flight requests, close WebSockets with 1001, exit in time."""

from __future__ import annotations

import signal

import httpx
import pytest
import trio
import trio_websocket
from solders.keypair import Keypair

from tests.acceptance.conftest import System
from tests.harness.processes import until_ready
from tests.websockets import opened

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_in_flight_requests_are_answered_and_websockets_close_with_1001(
    system: System, number: signal.Signals
) -> None:
    replies: list[httpx.Response] = []

    async def initialize(task_status: trio.TaskStatus[None]) -> None:
        """Send a request that hangs until the stopped chain continues."""
        body = {"user_pubkey": str(Keypair().pubkey())}
        async with httpx.AsyncClient(timeout=10) as http:
            request = http.build_request("POST", f"{system.at.url}/api/vault/initialize", json=body)
            task_status.started()
            replies.append(await http.send(request))

    async with system.serve() as service:
        await until_ready(system.at.url, service)
        url = system.at.url.replace("http", "ws") + "/ws"
        async with opened(url) as socket, trio.open_nursery() as nursery:
            await socket.get_message()
            system.chain.process.send_signal(signal.SIGSTOP)
            try:
                await nursery.start(initialize)
                await _accepted(system.at.url)
                service.send_signal(number)
                with trio.fail_after(5):
                    with pytest.raises(trio_websocket.ConnectionClosed) as closed:
                        await socket.get_message()
                assert closed.value.reason is not None
                assert closed.value.reason.code == 1001
            finally:
                system.chain.process.send_signal(signal.SIGCONT)
            with trio.fail_after(5):
                assert await service.wait() == 0
    assert [reply.status_code for reply in replies] == [422]  # the wallet has no SOL


async def _accepted(url: str) -> None:
    """Wait for the answer to a second request, after which the service has read the first."""
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{url}/health")).status_code == 200
