"""Node that serves scripted responses over real HTTP, faults included."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import trio


@dataclass
class Reply:
    """One HTTP response. `body` is sent unchanged; `cut` drops the connection instead."""

    body: bytes = b""
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    cut: bool = False


Script = Callable[[Any], Awaitable[Reply]]


@dataclass
class ScriptedNode:
    """HTTP server. `script` maps each request (JSON) to a Reply; `requests` records them."""

    script: Script
    requests: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._connection, [listener])
            task_status.started()

    async def _connection(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while (body := await self._request(connection, stream)) is not None:
                self.requests.append(json.loads(body))
                reply = await self.script(self.requests[-1])
                if reply.cut:
                    return
                await self._answer(connection, stream, reply)
                connection.start_next_cycle()
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            return  # the client hung up, which is its right

    async def _request(self, connection: h11.Connection, stream: trio.SocketStream) -> bytes | None:
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Request):
                self.headers.append({k.decode(): v.decode() for k, v in event.headers})
                self.targets.append(event.target.decode())
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)
            else:
                return None

    async def _answer(
        self, connection: h11.Connection, stream: trio.SocketStream, reply: Reply
    ) -> None:
        headers = [("content-length", str(len(reply.body))), *reply.headers]
        head = h11.Response(status_code=reply.status, headers=headers)
        await stream.send_all(connection.send(head) or b"")
        await stream.send_all(connection.send(h11.Data(data=reply.body)) or b"")
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")


def result(request: Any, value: Any) -> Reply:
    """Return the response to a single call."""
    return Reply(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}).encode())


def error(request: Any, code: int, message: str = "no", data: Any = None) -> Reply:
    """Return an error response to a single call."""
    body = {
        "jsonrpc": "2.0",
        "id": request["id"],
        "error": {"code": code, "message": message, "data": data},
    }
    return Reply(json.dumps(body).encode())


def answering(value: Any) -> Script:
    """Return a script that responds to every call with this result."""

    async def script(request: Any) -> Reply:
        return result(request, value)

    return script


def replying(reply: Reply) -> Script:
    """Return a script that sends every request this reply."""

    async def script(_: Any) -> Reply:
        return reply

    return script


def in_turn(*scripts: Script) -> Script:
    """Return a script that applies the next of `scripts` to each request, then always the last."""
    left = list(scripts)

    async def script(request: Any) -> Reply:
        chosen = left.pop(0) if len(left) > 1 else left[0]
        return await chosen(request)

    return script


def refusing(code: int) -> Script:
    async def script(request: Any) -> Reply:
        return error(request, code)

    return script


async def silent(_: Any) -> Reply:
    """Never respond to the request."""
    await trio.sleep_forever()
    raise AssertionError


@asynccontextmanager
async def nodes(*scripts: Script) -> AsyncIterator[list[ScriptedNode]]:
    started = [ScriptedNode(script) for script in scripts]
    async with trio.open_nursery() as nursery:
        for node in started:
            await nursery.start(node.serve)
        with trio.fail_after(15):
            yield started
        nursery.cancel_scope.cancel()


BLOCK = "1" * 31 + "B"  # the hash of every block of a FakeChain, by default


@dataclass
class FakeChain:
    """Script of a node with just enough of a chain for health and statuses; tests change it."""

    slot: int = 1000
    genesis: str = "1" * 32
    blocks: dict[int, str] = field(default_factory=dict)
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    sends: Callable[[Any], Reply] | None = None
    away: Reply | None = None

    async def __call__(self, request: Any) -> Reply:
        if self.away is not None:
            return self.away
        method, params = request["method"], request["params"]
        if method == "sendTransaction" and self.sends is not None:
            return self.sends(request)
        answers: dict[str, Callable[..., Any]] = {
            "getSlot": lambda _: self.slot,
            "getGenesisHash": lambda: self.genesis,
            "getBlock": lambda slot, _: {"blockhash": self.blocks.get(slot, BLOCK)},
            "getSignatureStatuses": lambda asked, _: self._at(list(map(self.statuses.get, asked))),
            "sendTransaction": lambda *_: "signature",
        }
        if method in answers:
            return result(request, answers[method](*params))
        if params and self.slot < params[-1].get("minContextSlot", 0):
            return error(request, -32016, "not reached", {"contextSlot": self.slot})
        return result(request, self._at(self.slot))

    def _at(self, value: Any) -> dict[str, Any]:
        return {"context": {"slot": self.slot}, "value": value}
