"""A trio server that writes each line of its input to every socket: what any broadcast costs."""

from __future__ import annotations

import sys

import trio

from bench.websockets.clients import HANDSHAKE

SERVE = "from bench.websockets.bare import main; main()"


def main() -> None:
    trio.run(serve)


async def serve() -> None:
    """Greet clients and broadcast frames of 300 bytes until standard input ends."""
    sockets: list[trio.SocketStream] = []

    async def greet(stream: trio.SocketStream) -> None:
        await stream.receive_some(len(HANDSHAKE))
        await stream.send_all(b"connected")
        sockets.append(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        nursery.start_soon(trio.serve_listeners, greet, [listener])
        print(listener.socket.getsockname()[1], flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            text = f'{{"pad":"{"x" * 240}","sent":{line.strip()}}}'.encode()
            frame = b"\x81\x7e" + len(text).to_bytes(2, "big") + text
            for stream in sockets:
                await stream.send_all(frame)
        nursery.cancel_scope.cancel()
