"""The tests' WebSocket client ends whatever its server does."""

from __future__ import annotations

import socket
import struct

import trio
import trio_websocket

from tests.harness.processes import HANG_SECONDS
from tests.websockets import opened

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


async def test_it_closes_with_messages_unread_after_its_server_was_killed() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    killed, gone = trio.Event(), trio.Event()

    async def serve() -> None:
        stream = await listener.accept()
        async with trio.open_nursery() as tasks:
            request = await trio_websocket.wrap_server_stream(tasks, stream)
            server = await request.accept()
            for _ in range(3):
                await server.send_message("a message")
            await killed.wait()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            stream.socket.close()
            tasks.cancel_scope.cancel()
        gone.set()

    with trio.fail_after(HANG_SECONDS):
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with opened(f"ws://127.0.0.1:{port}/") as client:
                assert await client.get_message() == "a message"
                while not client._recv_channel.statistics().tasks_waiting_send:
                    await trio.lowlevel.checkpoint()
                killed.set()
                await gone.wait()
