"""The baseline: trio, httptools and msgspec, and nothing else. It returns a call's parameters."""

from __future__ import annotations

import sys
from functools import partial

import httptools
import msgspec
import trio

HEAD = b"HTTP/1.1 200 \r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Body:
    """The callbacks of the parser: the body of the last whole request."""

    def __init__(self) -> None:
        self.parts = b""
        self.whole: bytes | None = None

    def on_body(self, part: bytes) -> None:
        self.parts += part

    def on_message_complete(self) -> None:
        self.whole, self.parts = self.parts, b""


async def answer(stream: trio.SocketStream) -> None:
    body = Body()
    parser = httptools.HttpRequestParser(body)
    async with stream:
        while data := await stream.receive_some(65536):
            parser.feed_data(data)
            if body.whole is not None:
                call = msgspec.json.decode(body.whole)
                body.whole = None
                reply = {"jsonrpc": "2.0", "result": call["params"], "id": call["id"]}
                line = msgspec.json.encode(reply)
                await stream.send_all(HEAD % len(line) + line)


async def serve() -> None:
    """Print the port, and serve until standard input ends."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        print(listener.socket.getsockname()[1], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve)
