"""Many WebSocket clients in one plain loop, as cheap as Python can make them."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
STAMP = b'"sent":'
PONG = b"\x8a\x80\0\0\0\0"
ANSWER_SECONDS = 20.0


@dataclass(slots=True)
class Client:
    """One connection: bytes of an incomplete frame, and the number of events received."""

    socket: socket.socket
    rest: bytes = b""
    events: int = 0
    ended: bool = False


@dataclass(slots=True)
class Crowd:
    """Clients of one port, all subscribed to one topic or to nothing."""

    clients: dict[int, Client] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)

    def read(self, seconds: float, *, expected: int) -> None:
        """Receive so many events, or for `seconds`; latency is from an event's timestamp on."""
        poll = select.epoll()
        for number in self.clients:
            poll.register(number, select.EPOLLIN)
        until = time.monotonic() + seconds
        wanted = len(self.milliseconds) + expected
        while len(self.milliseconds) < wanted and (left := until - time.monotonic()) > 0:
            for number, _ in poll.poll(min(left, 0.1)):
                self._take(self.clients[number])
                if self.clients[number].ended:
                    poll.unregister(number)
        poll.close()

    def _take(self, client: Client) -> None:
        try:
            data = client.socket.recv(65536)
        except (BlockingIOError, ConnectionError) as error:
            client.ended = isinstance(error, ConnectionError)
            return
        if not data:
            client.ended = True
            return
        now = time.time()
        client.rest += data
        for opcode, payload in _frames(client):
            if opcode == 9:
                client.socket.send(PONG)
            elif (at := payload.find(STAMP)) >= 0:
                client.events += 1
                stamp = payload[at + len(STAMP) :].split(b"}")[0].split(b",")[0]
                self.milliseconds.append((now - float(stamp)) * 1000)


def _frames(client: Client) -> Iterator[tuple[int, bytes]]:
    data, at = client.rest, 0
    while len(data) - at >= 2:
        length, head = data[at + 1], 2
        if length == 126:
            if len(data) - at < 4:
                break
            length, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
        elif length == 127:
            if len(data) - at < 10:
                break
            length, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
        if len(data) - at < head + length:
            break
        yield data[at] & 15, data[at + head : at + head + length]
        at += head + length
    client.rest = data[at:]


@contextmanager
def connected(port: int, count: int, *, topic: str | None) -> Iterator[Crowd]:
    """Connect and subscribe `count` clients on loopback."""
    crowd = Crowd()
    try:
        for _ in range(count):
            client = Client(socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS))
            client.socket.sendall(HANDSHAKE)
            _wait_for(client, b"connected")
            if topic is not None:
                client.socket.sendall(_masked(json.dumps({"topic": topic}).encode()))
                _wait_for(client, b"subscribed")
            client.rest = b""
            client.socket.setblocking(False)
            crowd.clients[client.socket.fileno()] = client
        yield crowd
    finally:
        for client in crowd.clients.values():
            client.socket.close()


def _wait_for(client: Client, word: bytes) -> None:
    got = b""
    while word not in got:
        data = client.socket.recv(65536)
        if not data:
            raise ConnectionError(f"closed before {word.decode()}: {got[:200]!r}")
        got += data


def _masked(text: bytes) -> bytes:
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text
