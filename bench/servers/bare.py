"""Servers that answer every request with the same bytes: what any server on this machine costs."""

from __future__ import annotations

import select
import socket
import sys
from functools import partial

import httptools
import trio

EPOLL = "from bench.servers.bare import serve_epoll; serve_epoll()"
TRIO = "from bench.servers.bare import main; main()"

BODY = b'{"status":"ok"}'
REPLY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)
) + BODY


def main() -> None:
    trio.run(serve)


async def serve() -> None:
    """Serve with trio and httptools until standard input ends."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        nursery.start_soon(partial(trio.serve_listeners, _answer, [listener]))
        print(listener.socket.getsockname()[1], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


class _Request:
    """Counts the complete requests of one connection, as httptools calls it back."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = 0

    def on_message_complete(self) -> None:
        self.complete += 1


async def _answer(stream: trio.SocketStream) -> None:
    request = _Request()
    parser = httptools.HttpRequestParser(request)
    while data := await stream.receive_some(65536):
        parser.feed_data(data)
        if request.complete:
            await stream.send_all(REPLY * request.complete)
            request.complete = 0


def serve_epoll() -> None:
    """Serve from one loop that reads nothing of a request but its end."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    for each in (listener.fileno(), sys.stdin.fileno()):
        poll.register(each, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            if number == sys.stdin.fileno():
                return
            if number == listener.fileno():
                connection, _ = listener.accept()
                sockets[connection.fileno()] = connection
                poll.register(connection.fileno(), select.EPOLLIN)
            elif sockets[number].recv(65536):
                sockets[number].send(REPLY)
            else:
                sockets.pop(number).close()
