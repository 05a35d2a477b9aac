"""The chain's HTTP port: JSON-RPC by POST, `GET /health`, CORS for wallets in browsers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from cvms.localnet.node.faults import ConnectionCut, Garble
from cvms.localnet.node.node import Node
from cvms.localnet.node.node_connection import CLOSE, NodeConnection
from cvms.localnet.node.request_parser import Headers, HttpRequest, RequestRefused
from cvms.localnet.rpc import request_faults
from cvms.localnet.rpc.dispatch import answer
from cvms.localnet.rpc.methods.node_info import HEALTHY_LAG

MAX_CONNECTIONS = 1024

JSON: Headers = ((b"content-type", b"application/json; charset=utf-8"),)
TEXT: Headers = ((b"content-type", b"text/plain; charset=utf-8"),)
ANY_ORIGIN: Headers = ((b"access-control-allow-origin", b"*"),)
ANSWERED: Headers = (*JSON, *ANY_ORIGIN)

NOT_ALLOWED = b"Used HTTP Method is not allowed. POST or OPTIONS is required\n"

Reply = tuple[int, Headers, bytes]
"""The status, the headers and the body."""

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
                connection = NodeConnection(stream)
                with connection.limit:
                    await self._serve_requests(connection, stream)
        except (ConnectionCut, trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            self._open -= 1

    async def _serve_requests(self, connection: NodeConnection, stream: trio.SocketStream) -> None:
        try:
            while (request := await connection.read_request()) is not None:
                if self._node.faults.refuse:
                    return
                if request.wants_websocket:
                    await self._upgrade(stream, request.raw)
                    return
                await self._answer(connection, request)
                if not request.keep_alive:
                    return
        except RequestRefused as refused:
            await connection.reply(refused.status, [*TEXT, CLOSE], str(refused).encode())

    async def _answer(self, connection: NodeConnection, request: HttpRequest) -> None:
        status, headers, body = await self._reply(connection, request)
        await connection.reply(status, headers if request.keep_alive else (*headers, CLOSE), body)

    async def _reply(self, connection: NodeConnection, request: HttpRequest) -> Reply:
        path = request.target.partition(b"?")[0]
        match request.method:
            case b"POST":
                return await self._call(connection, request.body)
            case b"OPTIONS":
                return 200, (*ANY_ORIGIN, *_preflight(request)), b""
            case b"GET" | b"HEAD" if path == b"/health":
                body = _health(self._node) if request.method == b"GET" else b""
                return 200, (*TEXT, *ANY_ORIGIN), body
            case _:
                return 405, (*TEXT, (b"allow", b"POST, OPTIONS")), NOT_ALLOWED

    async def _call(self, connection: NodeConnection, body: bytes) -> Reply:
        faults = self._node.faults
        methods = request_faults.called_methods(body) if faults.rpc else frozenset()
        if methods:
            limited = await request_faults.apply_request_faults(
                faults, methods, client_gone=connection.wait_gone
            )
            if limited is not None:
                return 429, (*TEXT, *ANY_ORIGIN, *limited), b"Too many requests"
        reply = await answer(self._node, body)
        await self._node.chain.ledger.committed()
        if methods and (garble := faults.strike(Garble, methods)):
            reply = garble.body
        return 200, ANSWERED, reply or b""


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
