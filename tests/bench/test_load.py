"""The load counts every reply once, however it arrives, and does not hide what a server does."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bench.load import Result, at_rate, get, post, saturate
from bench.servers import bare
from bench.servers.processes import started

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
BAD = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
REQUESTS = [get("/a"), get("/b"), post("/c", b"{}")]

Answer = Callable[[socket.socket, bytes], None]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[int, list[bytes]]]:
    """Serve each connection in a thread; yield the port, and the requests that were received."""
    received: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                received.append(data)
                answer(connection, data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # it is closed
                return
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=accept)]
        threads[0].start()
        yield listener.getsockname()[1], received
        listener.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def closed_loop(port: int) -> Result:
    return saturate(port, REQUESTS, seconds=0.3, connections=3)


def open_loop(port: int) -> Result:
    return at_rate(port, REQUESTS, rate=100, seconds=0.3, connections=3)


LOADS = pytest.mark.parametrize("load", [closed_loop, open_loop])


@LOADS
def test_each_reply_counts_once(load: Callable[[int], Result]) -> None:
    with server(lambda connection, _: connection.sendall(GOOD)) as (port, received):
        found = load(port)
    assert (found.count, found.failures) == (len(received), 0)
    assert set(received) == set(REQUESTS)
    assert 0 < found.p50 <= found.p95 <= found.p99 <= found.slowest


def test_the_open_loop_sends_what_is_due_and_no_more() -> None:
    with server(lambda connection, _: connection.sendall(GOOD)) as (port, received):
        assert open_loop(port).count == len(received) == 30


@LOADS
def test_a_reply_in_pieces_is_one_reply(load: Callable[[int], Result]) -> None:
    def in_pieces(connection: socket.socket, _: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(GOOD), 7):
            connection.sendall(GOOD[at : at + 7])

    with server(in_pieces) as (port, received):
        assert load(port).count == len(received)


@LOADS
def test_replies_other_than_200_are_failures(load: Callable[[int], Result]) -> None:
    with server(lambda connection, _: connection.sendall(BAD)) as (port, received):
        found = load(port)
    assert found.failures == len(received) > 0
    assert found.first_failure.startswith("HTTP/1.1 503 Service Unavailable")


@LOADS
def test_a_connection_that_the_server_says_it_closes_is_replaced(
    load: Callable[[int], Result],
) -> None:
    def close(connection: socket.socket, _: bytes) -> None:
        connection.sendall(GOOD.replace(b"OK", b"OK\r\nconnection: close"))
        connection.shutdown(socket.SHUT_RDWR)

    with server(close) as (port, received):
        found = load(port)
    assert (found.count, found.failures) == (len(received), 0)
    assert found.count > 3


@LOADS
def test_a_server_that_hangs_up_ends_the_load(load: Callable[[int], Result]) -> None:
    def hang_up(connection: socket.socket, _: bytes) -> None:
        connection.shutdown(socket.SHUT_RDWR)

    with server(hang_up) as (port, _), pytest.raises(subprocess.CalledProcessError):
        load(port)


def test_latency_counts_from_when_a_request_was_due() -> None:
    """One connection is held up, so that the requests behind it are late too."""
    held = threading.Event()

    def stall(connection: socket.socket, _: bytes) -> None:
        if not held.is_set():
            held.wait(0.2)
            held.set()
        connection.sendall(GOOD)

    with server(stall) as (port, _):
        found = at_rate(port, REQUESTS, rate=100, seconds=0.3, connections=1)
    assert found.slowest >= 200
    assert found.p50 > 50


@pytest.mark.parametrize("code", [bare.EPOLL, bare.TRIO])
def test_bare_servers_answer_everything(code: str) -> None:
    with started(code) as running:
        found = saturate(running.port, REQUESTS, seconds=0.3)
        assert found.count > 0
        assert found.failures == 0
        assert running.cpu_seconds() > 0
