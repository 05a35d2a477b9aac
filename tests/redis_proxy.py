"""A proxy before a Redis whose answers can be late, broken, wrong or missing.

`redis_proxy` starts one; its `fault` may change at any time, also for connections that are open.
"""

from __future__ import annotations

import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from functools import partial

import trio

Stream = trio.abc.HalfCloseableStream | trio.SSLStream[trio.SocketStream]
RESET = struct.pack("ii", 1, 0)  # close a connection by RST


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with Redis. Without arguments, nothing."""

    refuses: bool = False
    """Every connection is reset, new ones and those that are open."""
    silent: bool = False
    """Connections are accepted, and nothing is ever read or answered."""
    answer: bytes | None = None
    """Each command is answered by these bytes of the protocol, and not run."""
    delay: tuple[float, float] = (0.0, 0.0)
    """The shortest and the longest delay of what Redis sends, in seconds."""
    drip: float = 0.0
    """Seconds between the single bytes in which answers arrive."""
    garbled: float = 0.0
    """The share of bytes that Redis sends which are replaced by others."""
    extra: bytes = b""
    """Bytes that are sent once more than Redis sends, before its answer."""
    cut_after: int | None = None
    """The connection is reset after so many commands, in the midst of the answer."""

    def __str__(self) -> str:
        """Return what is not as it is by default."""
        changed = (each for each in fields(self) if getattr(self, each.name) != each.default)
        return ", ".join(f"{each.name}={getattr(self, each.name)}" for each in changed)


HEALTHY = Fault()
FAULTS = (
    Fault(refuses=True),
    Fault(silent=True),
    Fault(answer=b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"),
    Fault(answer=b"-READONLY You can't write against a read only replica.\r\n"),
    Fault(answer=b"-NOAUTH Authentication required.\r\n"),
    Fault(answer=b"-MISCONF Redis is configured to save RDB snapshots\r\n"),
    Fault(answer=b"-LOADING Redis is loading the dataset in memory\r\n"),
    Fault(answer=b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    Fault(answer=b":-9223372036854775808\r\n"),
    Fault(answer=b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n"),
    Fault(answer=b"+OK\r\n+OK\r\n"),
    Fault(answer=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    Fault(answer=b"*2147483647\r\n"),
    Fault(answer=b"$-7\r\n"),
    Fault(delay=(0.2, 0.6)),
    Fault(drip=0.05),
    Fault(garbled=0.05),
    Fault(extra=b"$5\r\nextra\r\n"),
    Fault(cut_after=3),
)
"""One of each kind."""


@dataclass(slots=True, eq=False)
class RedisProxy:
    """A running proxy, and what it has seen."""

    url: str
    dice: random.Random
    fault: Fault = HEALTHY
    connections: int = 0
    commands: list[bytes] = field(default_factory=list)
    """The names of the commands that clients have sent."""
    _changed: trio.Event = field(default_factory=trio.Event)

    def set(self, fault: Fault) -> None:
        """Begin a fault, which ends the one before."""
        self.fault = fault
        self._changed.set()
        self._changed = trio.Event()

    def clear(self) -> None:
        """End the fault. Connections on which answers were lost stay as they are."""
        self.set(HEALTHY)

    async def until(self, *, refuses: bool) -> None:
        """Wait for a fault that resets connections, or for one that does not."""
        while self.fault.refuses != refuses:
            await self._changed.wait()


@asynccontextmanager
async def redis_proxy(
    socket_path: str, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", seed: int = 0
) -> AsyncIterator[RedisProxy]:
    """Run a proxy on a TCP port before the Redis that listens on a Unix socket."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    scheme = "redis" if tls is None else "rediss"
    proxy = RedisProxy(f"{scheme}://{host}:{port}", random.Random(seed))
    async with trio.open_nursery() as nursery:
        serve = partial(_serve, proxy, socket_path, tls)
        nursery.start_soon(partial(trio.serve_listeners, serve, [listener]))
        yield proxy
        nursery.cancel_scope.cancel()


async def _serve(
    proxy: RedisProxy, socket_path: str, tls: ssl.SSLContext | None, client: trio.SocketStream
) -> None:
    proxy.connections += 1
    stream: Stream = client
    if tls is not None:
        stream = trio.SSLStream(client, tls, server_side=True, https_compatible=True)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_reset_when_refusing, proxy, client)
            async with client, await trio.open_unix_socket(socket_path) as server:
                connection = _Connection(proxy, stream, server)
                nursery.start_soon(connection.read_commands)
                await connection.read_answers()
            nursery.cancel_scope.cancel()
    except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        client.socket.close()  # an end of the connection has closed, or Redis does not run


async def _reset_when_refusing(proxy: RedisProxy, client: trio.SocketStream) -> None:
    await proxy.until(refuses=True)
    _reset(client)


def _reset(client: trio.SocketStream) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.socket.close()
    raise trio.BrokenResourceError


@dataclass(slots=True, eq=False)
class _Connection:
    """Forwards what a client and Redis send, as the fault of the moment has it."""

    proxy: RedisProxy
    client: Stream
    server: trio.SocketStream
    commands: int = 0
    sending: trio.Lock = field(default_factory=trio.Lock)

    async def read_commands(self) -> None:
        unread = b""
        while data := await self.client.receive_some(65536):
            names, unread = _split(unread + data)
            self.proxy.commands += names
            self.commands += len(names)
            fault = self.proxy.fault
            if fault.silent:
                continue
            if fault.answer is None:
                await self.server.send_all(data)
            else:
                await self._send(fault.answer * len(names))
        await self.server.send_eof()

    async def read_answers(self) -> None:
        async for data in self.server:
            fault, dice = self.proxy.fault, self.proxy.dice
            await trio.sleep(dice.uniform(*fault.delay))
            if fault.silent:
                continue
            if fault.cut_after is not None and self.commands >= fault.cut_after:
                await self._send(bytes(data[: len(data) // 2]))
                assert isinstance(self.client, trio.SocketStream)
                _reset(self.client)
            for chunk in _chunks(
                fault.extra + _garbled(bytes(data), fault.garbled, dice), fault.drip
            ):
                await self._send(chunk)
                await trio.sleep(fault.drip)

    async def _send(self, data: bytes) -> None:
        async with self.sending:
            await self.client.send_all(data)


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the names of the commands in `data`, and the rest that is not whole yet."""
    names: list[bytes] = []
    begin = at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        count, at, words = int(data[at + 1 : end]), end + 2, []
        for _ in range(count):
            if (end := data.find(b"\r\n", at)) < 0:
                return names, data[begin:]
            word = end + 2
            at = word + int(data[at + 1 : end]) + 2
            if at > len(data):
                return names, data[begin:]
            words.append(data[word : at - 2])
        names.append(words[0].upper())
        begin = at
    return names, data[begin:]


def _garbled(data: bytes, share: float, dice: random.Random) -> bytes:
    if not share:
        return data
    return bytes(dice.randrange(256) if dice.random() < share else byte for byte in data)


def _chunks(data: bytes, drip: float) -> Iterator[bytes]:
    if not drip:
        yield data
        return
    for byte in data:
        yield bytes([byte])
