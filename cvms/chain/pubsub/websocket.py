"""One WebSocket connection to a node: its URL, deadlines to open and close it, and keep-alive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import h11
import httpx
import structlog
import trio
import trio_websocket
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection
from wsproto.utilities import LocalProtocolError

from cvms.chain.pubsub.messages import Answer, Notification, read_message
from cvms.chain.rpc.transport.jsonrpc import encode_body, encode_call
from cvms.errors import ConfigurationError
from cvms.secret_urls import basic_credentials, host_of

CONNECT_SECONDS = 5.0  # also the cost of a peer that hangs up before the handshake
CLOSE_SECONDS = 0.5  # a dead peer does not answer the close frame
PING_INTERVAL = 8.0  # with PONG_SECONDS: a half-open connection is detected within 16 s
PONG_SECONDS = 8.0
MAX_FRAME_BYTES = 4 * 1024 * 1024

_log = structlog.get_logger(__name__)


class ConnectionLost(Exception):
    """The connection cannot be opened, or is lost. The message says why, without the URL."""


LOST = (ConnectionLost, HandshakeError, LocalProtocolError, h11.LocalProtocolError)
"""Exceptions that the connection's nursery may raise. The last three come from the library's reader
task: when the peer refuses with a body, when it pings while the connection is being closed, and
when it answers the handshake by something that is not a WebSocket."""


@dataclass(frozen=True, slots=True)
class PubSubTarget:
    """A parsed WebSocket URL. Only `host` may be shown: the path and the user may be secrets."""

    host: str
    address: str
    port: int
    tls: bool
    resource: str = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> PubSubTarget:
        """Parse a URL. Raises ConfigurationError, without quoting the URL."""
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


def reason_of(lost: BaseException) -> str:
    """Return why a connection was lost, in words that quote nothing of the peer's."""
    if isinstance(lost, ConnectionLost):
        return str(lost)
    return f"not a valid WebSocket: {type(lost).__name__}"


OpenStream = Callable[[PubSubTarget], Awaitable[trio.abc.Stream]]


async def open_stream(target: PubSubTarget) -> trio.abc.Stream:
    """Open a TCP or TLS stream to the target. Raises OSError."""
    if not target.tls:
        return await trio.open_tcp_stream(target.address, target.port)
    # httpx's context, so that RPC and PubSub trust the same certificate authorities.
    return await trio.open_ssl_over_tcp_stream(
        target.address,
        target.port,
        ssl_context=httpx.create_ssl_context(),
        https_compatible=True,
    )


class PubSubConnection:
    """An open WebSocket. It is read only while someone awaits `receive`: see `keep_alive`."""

    def __init__(self, websocket: WebSocketConnection, *, host: str) -> None:
        self._websocket = websocket
        self._host = host
        self._ignored = 0
        self._received = 0
        self._waiting = False

    async def call(self, request_id: int, method: str, params: Sequence[Any]) -> None:
        """Send a JSON-RPC request. Raises ConnectionLost."""
        text = encode_body(encode_call(request_id, method, params)).decode()
        try:
            await self._websocket.send_message(text)
        except ConnectionClosed as closed:
            raise ConnectionLost(_reason(closed)) from None

    async def receive(self) -> Answer | Notification:
        """Return the next message, however long it takes. Raises ConnectionLost.

        Messages of any other shape, such as a gateway's own, are skipped.
        """
        while (message := read_message(await self._next())) is None:
            if not self._ignored:
                _log.warning("pubsub_message_ignored", host=self._host)
            self._ignored += 1
        return message

    async def _next(self) -> str | bytes:
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
        """Ping until cancelled. Raises ConnectionLost when the peer is silent.

        While nobody awaits `receive`, nothing is read, so a missing pong proves nothing.
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
    target: PubSubTarget, nursery: trio.Nursery, *, open_stream: OpenStream = open_stream
) -> AsyncIterator[PubSubConnection]:
    """Connect within one deadline, and close within another. Raises ConnectionLost."""
    try:
        with trio.fail_after(CONNECT_SECONDS):
            stream = await open_stream(target)
            websocket = await _handshake(stream, target, nursery)
    except trio.TooSlowError:
        raise ConnectionLost(f"no connection within {CONNECT_SECONDS:g} s") from None
    except (OSError, trio.BrokenResourceError, ConnectionClosed) as error:
        raise ConnectionLost(f"cannot connect: {type(error).__name__}") from error
    except HandshakeError as error:
        status = getattr(error, "status_code", None)
        raise ConnectionLost(f"handshake refused: {status or type(error).__name__}") from None
    try:
        yield PubSubConnection(websocket, host=target.host)
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await websocket.aclose()
        # trio-websocket leaves the stream open when the peer has hung up.
        await trio.aclose_forcefully(stream)


async def _handshake(
    stream: trio.abc.Stream, target: PubSubTarget, nursery: trio.Nursery
) -> WebSocketConnection:
    try:
        return await trio_websocket.wrap_client_stream(
            nursery,
            stream,  # type: ignore[arg-type]  # any Stream works
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
    return ((b"Authorization", f"Basic {basic_credentials(parts.geturl())}".encode()),)


def _reason(closed: ConnectionClosed) -> str:
    return "closed" if closed.reason is None else f"closed with {closed.reason.code}"
