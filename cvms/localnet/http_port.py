"""The chain's HTTP port: JSON-RPC by POST, `GET /health`, CORS for wallets in browsers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import h11
import trio

from cvms.localnet.node.faults import ConnectionCut, Garble
from cvms.localnet.node.node import Node
from cvms.localnet.node.node_connection import BodyTooLarge, Headers, HttpRequest, NodeConnection
from cvms.localnet.rpc import request_faults
from cvms.localnet.rpc.dispatch import answer
from cvms.localnet.rpc.methods.node_info import HEALTHY_LAG

MAX_CONNECTIONS = 1024

JSON: Headers = ((b"content-type", b"application/json; charset=utf-8"),)
TEXT: Headers = ((b"content-type", b"text/plain; charset=utf-8"),)
ANY_ORIGIN: Headers = ((b"access-control-allow-origin", b"*"),)

NOT_ALLOWED = b"Used HTTP Method is not allowed. POST or OPTIONS is required\n"

Upgrade = Callable[[trio.SocketStream, bytes], Awaitable[None]]


class HttpPort:
    """The connections of one listener. `upgrade` takes over those that become WebSockets."""

    def __init__(self, node: Node, *, upgrade: Upgrade) -> None:
        self._node = node
        self._upgrade = upgrade
        self._open = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one client until it disconnects. Its errors end only its own connection."""
        if self._open >= MAX_CONNECTIONS or self._node.faults.refuse:
            await stream.aclose()
            return
        self._open += 1
        try:
            async with stream:
                await self._serve_requests(stream)
        except (
            ConnectionCut,
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            trio.TooSlowError,
        ):
            return
        finally:
            self._open -= 1

    async def _serve_requests(self, stream: trio.SocketStream) -> None:
        connection = NodeConnection(stream)
        try:
            while (request := await connection.read_request()) is not None:
                if self._node.faults.refuse:
                    return
                if request.wants_websocket:
                    await self._upgrade(stream, request.raw)
                    return
                await self._answer(connection, request)
                if not connection.next_cycle():
                    return
        except h11.RemoteProtocolError as error:
            await _refuse(connection, error.error_status_hint, str(error))
        except BodyTooLarge:
            await _refuse(connection, 413, "request body too large")

    async def _answer(self, connection: NodeConnection, request: HttpRequest) -> None:
        path = request.target.partition(b"?")[0]
        match request.method:
            case b"POST":
                await self._call(connection, request.body)
            case b"OPTIONS":
                await connection.reply(200, [*ANY_ORIGIN, *_preflight(request)], b"")
            case b"GET" | b"HEAD" if path == b"/health":
                body = _health(self._node) if request.method == b"GET" else b""
                await connection.reply(200, [*TEXT, *ANY_ORIGIN], body)
            case _:
                allowed = [*TEXT, (b"allow", b"POST, OPTIONS")]
                await connection.reply(405, allowed, NOT_ALLOWED)

    async def _call(self, connection: NodeConnection, body: bytes) -> None:
        faults = self._node.faults
        methods = request_faults.called_methods(body) if faults.rpc else frozenset()
        if methods:
            limited = await request_faults.apply_request_faults(
                faults, methods, client_gone=connection.wait_gone
            )
            if limited is not None:
                await connection.reply(429, [*TEXT, *ANY_ORIGIN, *limited], b"Too many requests")
                return
        reply = await answer(self._node, body)
        if methods and (garble := faults.strike(Garble, methods)):
            reply = garble.body
        await connection.reply(200, [*JSON, *ANY_ORIGIN], reply or b"")


def _health(node: Node) -> bytes:
    if (behind := node.faults.lag) > HEALTHY_LAG:
        return b"behind { distance: %d }" % behind
    return b"ok"


def _preflight(request: HttpRequest) -> Headers:
    asked = request.header(b"access-control-request-headers")
    return [
        (b"access-control-allow-methods", b"POST, GET, OPTIONS"),
        (b"access-control-allow-headers", asked or b"content-type"),
        (b"access-control-max-age", b"86400"),
    ]


async def _refuse(connection: NodeConnection, status: int, reason: str) -> None:
    try:
        await connection.reply(status, [*TEXT, (b"connection", b"close")], reason.encode())
    except h11.LocalProtocolError:
        return  # the reply has begun, so only closing the connection can report the error
