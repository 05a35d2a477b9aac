"""The proxy's PubSub port: each client's connection has one of its own to the node."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection

from tests.provider_proxy.fault import Fault, PubSubFault
from tests.websockets import opened

LOST = (
    ConnectionClosed,
    HandshakeError,
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)


@dataclass(slots=True, eq=False)
class PubSubPort:
    """Forwards PubSub. Faults of a handshake are those that are active when it begins."""

    node_ws_url: str
    faults: Sequence[Fault]
    dice: random.Random
    _scopes: set[trio.CancelScope] = field(default_factory=set)

    def cut(self) -> None:
        """End every connection."""
        for scope in self._scopes:
            scope.cancel()

    async def serve(self, stream: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                async with stream:
                    await self._serve(stream)
            except* LOST:
                pass  # one end has hung up
            finally:
                self._scopes.discard(scope)

    async def _serve(self, stream: trio.SocketStream) -> None:
        for fault in self._active():
            raw = fault.handshake()
            if raw is not None and fault.strikes((), self.dice):
                await stream.receive_some(65536)
                await stream.send_all(raw)
                return
        async with opened(f"{self.node_ws_url}/") as node, trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            client = await request.accept()
            nursery.start_soon(self._to_node, client, node)
            try:
                await self._to_client(node, client)
            finally:
                nursery.cancel_scope.cancel()

    async def _to_node(self, client: WebSocketConnection, node: WebSocketConnection) -> None:
        while True:
            message = await client.get_message()
            call = json.loads(message)
            for fault in self._active():
                answers = fault.answers(call)
                if answers is not None and fault.strikes((call["method"],), self.dice):
                    for answer in answers:
                        await client.send_message(answer)
                    break
            else:
                await node.send_message(message)

    async def _to_client(self, node: WebSocketConnection, client: WebSocketConnection) -> None:
        while True:
            messages: list[Any] = [json.loads(await node.get_message())]
            for fault in self._active():
                if not fault.methods and fault.strikes((), self.dice):
                    messages = [each for message in messages for each in _changed(message, fault)]
            for message in messages:
                text = json.dumps(message) if isinstance(message, dict) else message
                await client.send_message(text)

    def _active(self) -> list[PubSubFault]:
        return [each for each in self.faults if isinstance(each, PubSubFault)]


def _changed(message: Any, fault: PubSubFault) -> list[Any]:
    return fault.change(message) if isinstance(message, dict) else [message]
