"""HTTP load from a process of its own, as cheap as Python can make it: one loop, no parser.

    .venv/bin/python -m bench.load [--seconds 3] [--json FILE]

Run alone, it prints how many requests a second it can make of servers that do nothing, which is the
most that it can measure. `saturate` keeps a request under way on every connection; `at_rate` sends
requests at fixed times, whether or not others have been answered, and counts latency from when a
request was due, so that a server that stalls cannot hide the requests which had to wait.
"""

from __future__ import annotations

import argparse
import itertools
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from bench import report
from bench.servers import bare
from bench.servers.processes import started

ANSWER_SECONDS = 10.0
"""Longest wait for a reply; then the load fails."""
SUCCESS = b"HTTP/1.1 200"
LENGTH = b"ength: "  # Content-Length in any spelling
CLOSE = b"onnection: close"


class Job(msgspec.Struct):
    """Requests to a port of this machine; without a rate, as fast as it answers."""

    port: int
    requests: list[bytes]
    seconds: float
    connections: int
    rate: float | None = None


class Result(msgspec.Struct, frozen=True):
    """Replies, replies other than 200, and milliseconds by the share of replies within them."""

    count: int
    failures: int
    seconds: float
    cpu_seconds: float
    p50: float
    p95: float
    p99: float
    slowest: float
    first_failure: str = ""
    """The first reply other than 200."""

    @property
    def rate(self) -> float:
        return self.count / self.seconds


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def saturate(
    port: int, requests: Sequence[bytes], *, seconds: float, connections: int = 32
) -> Result:
    """Send these requests in turn, a new one on each connection as soon as the last is answered."""
    return _run(Job(port, list(requests), seconds, connections))


def at_rate(
    port: int, requests: Sequence[bytes], *, rate: float, seconds: float, connections: int = 64
) -> Result:
    """Send these requests in turn, `rate` a second."""
    return _run(Job(port, list(requests), seconds, connections, rate))


def _run(job: Job) -> Result:
    """Raises CalledProcessError if the server hangs up, or does not answer."""
    done = subprocess.run(
        [sys.executable, "-c", "from bench.load import child; child()"],
        input=msgspec.msgpack.encode(job),
        stdout=subprocess.PIPE,
        timeout=job.seconds * 3 + ANSWER_SECONDS + 10,
        check=True,
    )
    return msgspec.msgpack.decode(done.stdout, type=Result)


# --- in the process of the load ------------------------------------------------------------------


def child() -> None:
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.msgpack.encode(Load(job).run()))


@dataclass(slots=True)
class Load:
    job: Job
    taken: list[float] = field(default_factory=list)
    failures: int = 0
    first_failure: str = ""
    rest: dict[int, bytes] = field(default_factory=dict)
    """Beginnings of replies by file descriptor."""
    poll: select.epoll | None = None

    def run(self) -> Result:
        address = ("127.0.0.1", self.job.port)
        sockets = {}
        for _ in range(self.job.connections):
            connection = socket.create_connection(address, timeout=ANSWER_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sockets[connection.fileno()] = connection
        cpu, begin = time.process_time(), time.perf_counter()
        work = self._saturate if self.job.rate is None else self._at_rate
        work(sockets, begin)
        seconds = time.perf_counter() - begin
        cpu = time.process_time() - cpu
        taken = sorted(each * 1000 for each in self.taken)
        p50, p95, p99 = (taken[int(share * len(taken))] for share in (0.5, 0.95, 0.99))
        figures = seconds, cpu, p50, p95, p99, taken[-1]
        return Result(len(taken), self.failures, *figures, self.first_failure)

    def _saturate(self, sockets: dict[int, socket.socket], begin: float) -> None:
        clock, take = time.perf_counter, self._take
        following = itertools.cycle(self.job.requests).__next__
        self.poll = poll = select.epoll()
        until, sent = begin + self.job.seconds, dict[int, float]()
        for number, connection in sockets.items():
            poll.register(number, select.EPOLLIN)
            sent[number] = clock()
            connection.sendall(following())
        while sent:
            ready = poll.poll(ANSWER_SECONDS)
            if not ready:
                raise TimeoutError(f"no reply in {ANSWER_SECONDS:g} s")
            for number, _ in ready:
                connection = sockets[number]
                if take(number, connection):
                    now = clock()
                    self.taken.append(now - sent[number])
                    if now < until:
                        sent[number] = now
                        connection.send(following())
                    else:
                        del sent[number]

    def _at_rate(self, sockets: dict[int, socket.socket], begin: float) -> None:
        rate = self.job.rate
        assert rate is not None
        clock = time.perf_counter
        due = deque(begin + number / rate for number in range(int(rate * self.job.seconds)))
        following = itertools.cycle(self.job.requests).__next__
        free, asked = list(sockets), dict[int, float]()
        while due or asked:
            while due and free and due[0] <= clock():
                number = free.pop()
                asked[number] = due.popleft()
                sockets[number].sendall(following())
            wait = max(0.0, due[0] - clock()) if due and free else ANSWER_SECONDS
            # select waits for microseconds, epoll for whole milliseconds
            ready, _, _ = select.select(list(asked), [], [], wait)
            if not ready and wait == ANSWER_SECONDS:
                raise TimeoutError(f"no reply in {ANSWER_SECONDS:g} s")
            for number in ready:
                if self._take(number, sockets[number]):
                    self.taken.append(clock() - asked.pop(number))
                    free.append(number)

    def _take(self, number: int, connection: socket.socket) -> bool:
        """Receive; return whether the reply is complete."""
        got = connection.recv(65536)
        if not got:
            raise ConnectionError("the server has closed a connection")
        if self.rest and number in self.rest:
            got = self.rest.pop(number) + got
        end = got.find(b"\r\n\r\n")
        at = got.find(LENGTH, 0, end) + len(LENGTH)
        if end < 0 or len(got) < end + 4 + int(got[at : got.index(b"\r", at)]):
            self.rest[number] = got
            return False
        if not got.startswith(SUCCESS):
            self.failures += 1
            self.first_failure = self.first_failure or got.decode(errors="replace")
        if got.find(CLOSE, 0, end) >= 0:
            self._reconnect(number)
        return True

    def _reconnect(self, number: int) -> None:
        """Replace a connection that the server closes, as it says, under the same descriptor."""
        with socket.create_connection(
            ("127.0.0.1", self.job.port), timeout=ANSWER_SECONDS
        ) as fresh:
            fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.poll is not None:
                self.poll.unregister(number)
            os.dup2(fresh.fileno(), number)
        if self.poll is not None:
            self.poll.register(number, select.EPOLLIN)


# --- what the load itself can do -----------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="the most requests that the load can make")
    parser.add_argument("--seconds", type=float, default=3.0)
    report.add_arguments(parser)
    options = parser.parse_args()
    print(report.machine())
    report.finish(report.Report("load", tuple(_measure(options.seconds))), options.json)


def _measure(seconds: float) -> Iterator[report.Row]:
    request = [get("/health")]
    for name, code in (("epoll", bare.EPOLL), ("trio and httptools", bare.TRIO)):
        with started(code) as server:
            found = saturate(server.port, request, seconds=seconds)
        yield report.row(f"requests of a bare server of {name}", found.rate, "requests/s")
        yield report.row(
            f"load's CPU each, against {name}", found.cpu_seconds / found.count * 1e6, "CPU µs"
        )


if __name__ == "__main__":
    main()
