"""One WebSocket connection to a node: where to, opened and closed within deadlines, kept alive."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

import httpx
import trio
import trio_websocket
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection
from wsproto.utilities import LocalProtocolError

from cvms.chain.rpc.transport.endpoint_pool import host_of
from cvms.errors import ConfigurationError

CONNECT_SECONDS = 5.0  # also what a peer costs that hangs up before the handshake
CLOSE_SECONDS = 0.5  # a peer that is gone does not answer the close frame
PING_INTERVAL = 8.0  # with PONG_SECONDS: a half-open connection is noticed within 16 s
PONG_SECONDS = 8.0
MAX_FRAME_BYTES = 4 * 1024 * 1024


class ConnectionLost(Exception):
    """The connection cannot be opened or used any more; says why, without the URL."""


LOST = (ConnectionLost, HandshakeError, LocalProtocolError)
"""What the connection's nursery may raise. The others come from the library's own reader: when the
peer refuses with a body, and when it pings while the connection is being closed."""


@dataclass(frozen=True, slots=True)
class Target:
    """A WebSocket URL in parts. Only `host` may be shown: a path or a user may be a secret."""

    host: str
    address: str
    port: int
    tls: bool
    resource: str = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Target:
        """Raises ConfigurationError, without quoting the URL."""
        host, parts = host_of(url), urlsplit(url)
        if parts.scheme not in ("ws", "wss"):
            raise ConfigurationError(f"the PubSub URL of {host} is not ws:// or wss://")
        tls = parts.scheme == "wss"
        query = f"?{parts.query}" if parts.query else ""
        return cls(
            host=host,
            address=parts.hostname or "",
            port=parts.port or (443 if tls else 80),
            tls=tls,
            resource=(parts.path or "/") + query,
            headers=_credentials(parts),
        )


OpenStream = Callable[[Target], Awaitable[trio.abc.Stream]]


async def open_stream(target: Target) -> trio.abc.Stream:
    """A TCP or TLS stream to the target. Raises OSError."""
    if not target.tls:
        return await trio.open_tcp_stream(target.address, target.port)
    # httpx's context, so that both connections to a node trust the same authorities.
    return await trio.open_ssl_over_tcp_stream(
        target.address,
        target.port,
        ssl_context=httpx.create_ssl_context(),
        https_compatible=True,
    )


class Connection:
    """An open WebSocket. Whoever receives says when it is busy elsewhere: see `keep_alive`."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self._websocket = websocket
        self._received = 0
        self._waiting = False

    async def send(self, text: str) -> None:
        """Raises ConnectionLost."""
        try:
            await self._websocket.send_message(text)
        except ConnectionClosed as closed:
            raise ConnectionLost(_reason(closed)) from None

    async def receive(self) -> str | bytes:
        """The next message, however long it takes. Raises ConnectionLost."""
        self._waiting = True
        try:
            message = await self._websocket.get_message()
        except ConnectionClosed as closed:
            raise ConnectionLost(_reason(closed)) from None
        finally:
            self._waiting = False
        self._received += 1
        return message

    async def keep_alive(self) -> None:
        """Ping until cancelled. Raises ConnectionLost when nothing comes back.

        While its receiver is busy the connection is not read, so a missing pong means nothing.
        """
        while True:
            await trio.sleep(PING_INTERVAL)
            received = self._received
            with trio.move_on_after(PONG_SECONDS) as scope:
                await self._ping()
            if scope.cancelled_caught and self._waiting and received == self._received:
                raise ConnectionLost(f"silent for {PONG_SECONDS:g} s after a ping")

    async def _ping(self) -> None:
        try:
            await self._websocket.ping()
        except ConnectionClosed as closed:
            raise ConnectionLost(_reason(closed)) from None


@asynccontextmanager
async def open_connection(
    target: Target, nursery: trio.Nursery, *, open_stream: OpenStream = open_stream
) -> AsyncIterator[Connection]:
    """Connect and shake hands within a deadline, close within another. Raises ConnectionLost."""
    try:
        with trio.fail_after(CONNECT_SECONDS):
            stream = await open_stream(target)
            websocket = await _shake_hands(stream, target, nursery)
    except trio.TooSlowError:
        raise ConnectionLost(f"no connection within {CONNECT_SECONDS:g} s") from None
    except (OSError, trio.BrokenResourceError, ConnectionClosed) as error:
        raise ConnectionLost(f"cannot connect: {type(error).__name__}") from error
    except HandshakeError as error:
        status = getattr(error, "status_code", None)
        raise ConnectionLost(f"handshake refused: {status or type(error).__name__}") from None
    try:
        yield Connection(websocket)
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await websocket.aclose()
        # trio-websocket leaves it open when the peer has hung up.
        await trio.aclose_forcefully(stream)


async def _shake_hands(
    stream: trio.abc.Stream, target: Target, nursery: trio.Nursery
) -> WebSocketConnection:
    try:
        return await trio_websocket.wrap_client_stream(
            nursery,
            stream,  # type: ignore[arg-type]  # any Stream will do
            target.host,
            target.resource,
            extra_headers=list(target.headers),
            message_queue_size=16,
            max_message_size=MAX_FRAME_BYTES,
        )
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


def _credentials(parts: SplitResult) -> tuple[tuple[bytes, bytes], ...]:
    if parts.username is None:
        return ()
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return ((b"Authorization", b"Basic " + base64.b64encode(user.encode())),)


def _reason(closed: ConnectionClosed) -> str:
    return "closed" if closed.reason is None else f"closed with {closed.reason.code}"
