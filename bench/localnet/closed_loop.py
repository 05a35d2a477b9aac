"""Closed-loop HTTP load: each connection sends its next request once the last one is answered.

One loop over epoll without tasks, so that the load costs less than what it measures.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

CONNECTIONS = 32
PATIENCE = 5.0
"""Seconds without any answer after which the measurement fails."""

OK, LENGTH, END = b"HTTP/1.1 200", b"content-length: ", b"\r\n\r\n"


@dataclass(slots=True)
class Answers:
    """The seconds that it took, and the bodies of all replies if they were kept."""

    count: int = 0
    failures: int = 0
    """Replies with another status than 200, and those that hold a JSON-RPC error."""
    seconds: float = 0.0
    bodies: list[bytes] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.count / self.seconds


def post(body: bytes) -> bytes:
    """Return the bytes of a request."""
    head = b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def load(port: int, requests: Iterator[bytes], *, seconds: float, keep: bool = False) -> Answers:
    """Send the requests until none is left or the time is over. Raises TimeoutError."""
    answers, poll = Answers(), select.epoll()
    connections: dict[int, tuple[socket.socket, bytearray]] = {}
    began = time.perf_counter()
    try:
        for _ in range(CONNECTIONS):
            if (request := next(requests, None)) is None:
                break
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connections[connection.fileno()] = (connection, bytearray())
            poll.register(connection, select.EPOLLIN)
            connection.sendall(request)
        waiting = len(connections)
        while waiting:
            if not (ready := poll.poll(PATIENCE)):
                raise TimeoutError(f"no answer for {PATIENCE:g} s")
            for number, _ in ready:
                connection, received = connections[number]
                received += _read(connection)
                if (body := _whole_body(received)) is None:
                    continue
                answers.count += 1
                answers.failures += not received.startswith(OK) or b'"error":' in body
                if keep:
                    answers.bodies.append(body)
                received.clear()
                over = time.perf_counter() - began >= seconds
                if over or (request := next(requests, None)) is None:
                    waiting -= 1
                else:
                    connection.sendall(request)
    finally:
        poll.close()
        for connection, _ in connections.values():
            connection.close()
    answers.seconds = time.perf_counter() - began
    return answers


def _read(connection: socket.socket) -> bytes:
    if not (data := connection.recv(65536)):
        raise ConnectionError("the server has closed a connection")
    return data


def _whole_body(received: bytearray) -> bytes | None:
    """Return the body of a reply with a Content-Length, or None if it is not complete."""
    if (end := received.find(END)) < 0:
        return None
    begin = received.find(LENGTH) + len(LENGTH)
    length = int(received[begin : received.find(b"\r", begin)])
    body = received[end + len(END) :]
    return bytes(body) if len(body) == length else None
