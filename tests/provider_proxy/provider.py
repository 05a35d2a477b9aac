"""The proxy itself: an HTTP port and a PubSub port before those of a node."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import trio

from cvms.localnet.node.node_connection import NodeConnection
from cvms.localnet.node.request_parser import RequestRefused
from tests.provider_proxy.fault import (
    Answer,
    Call,
    CallFault,
    Fault,
    HttpReply,
    PubSubFault,
    RequestFault,
    SomeFault,
    error_of,
)
from tests.provider_proxy.pubsub_port import PubSubPort
from tests.provider_proxy.request_faults import Slow

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
UNREACHABLE = HttpReply(502, b"Bad Gateway", "text/plain")


@dataclass(slots=True, eq=False)
class Provider:
    """A running proxy. `faults` are applied in their order, and may be changed at any time."""

    url: str
    ws_url: str
    faults: list[Fault]
    dice: random.Random
    pubsub: PubSubPort
    calls: list[Call] = field(default_factory=list)
    """The calls that clients have made, if `recording`."""
    recording: bool = False
    under_way: set[trio.Event] = field(default_factory=set)
    """One for each request that is not answered yet."""

    def struck(self, kind: type[SomeFault]) -> int:
        """Return how often faults of this kind have happened."""
        return sum(each.struck for each in self.faults if isinstance(each, kind))

    def add(self, *faults: Fault) -> None:
        """Begin faults. Those of PubSub begin with new connections."""
        self.faults += faults
        if any(isinstance(each, PubSubFault) for each in faults):
            self.pubsub.cut()

    async def begin(self, *faults: Fault) -> None:
        """Begin faults, and wait until all that was asked before is answered, as it was then."""
        self.add(*faults)
        for answered in list(self.under_way):
            await answered.wait()

    def clear(self) -> None:
        """End all faults, and the PubSub connections that had them."""
        if any(isinstance(each, PubSubFault) for each in self.faults):
            self.pubsub.cut()
        self.faults.clear()


async def serve_provider(
    node_url: str,
    node_ws_url: str,
    faults: Iterable[Fault] = (),
    *,
    seed: int = 0,
    task_status: trio.TaskStatus[Provider] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a proxy before a node until cancelled. The same seed gives the same faults."""
    [rpc] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    [pubsub] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    active, dice = list(faults), random.Random(seed)
    port = PubSubPort(node_ws_url, active, dice)
    provider = Provider(
        f"http://127.0.0.1:{rpc.socket.getsockname()[1]}",
        f"ws://127.0.0.1:{pubsub.socket.getsockname()[1]}",
        active,
        dice,
        port,
    )
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with (
        httpx.AsyncClient(timeout=30, limits=limits) as http,
        trio.open_nursery() as nursery,
    ):
        forward = _RpcPort(provider, node_url, http)
        nursery.start_soon(partial(trio.serve_listeners, forward.serve, [rpc]))
        nursery.start_soon(partial(trio.serve_listeners, port.serve, [pubsub]))
        task_status.started(provider)


@asynccontextmanager
async def provider(
    node_url: str, node_ws_url: str, *faults: Fault, seed: int = 0
) -> AsyncIterator[Provider]:
    """Run a proxy before a node, which answers with `faults`."""
    async with trio.open_nursery() as nursery:
        run = partial(serve_provider, node_url, node_ws_url, faults, seed=seed)
        yield await nursery.start(run)
        nursery.cancel_scope.cancel()


@dataclass(slots=True, eq=False)
class _RpcPort:
    """Forwards JSON-RPC, single calls and batches."""

    provider: Provider
    node_url: str
    http: httpx.AsyncClient

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection = NodeConnection(stream)
            try:
                with connection.limit:
                    await self._serve(connection)
            except (RequestRefused, *GONE):
                return  # the client has hung up

    async def _serve(self, connection: NodeConnection) -> None:
        while (request := await connection.read_request()) is not None:
            with self._under_way():
                reply = await self._reply(request.body)
            kind = (b"content-type", reply.content_type.encode())
            extra = [(name.encode(), value.encode()) for name, value in reply.headers]
            await connection.reply(reply.status, [kind, *extra], reply.body)
            if not request.keep_alive:
                return

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        answered = trio.Event()
        self.provider.under_way.add(answered)
        try:
            yield
        finally:
            self.provider.under_way.remove(answered)
            answered.set()

    async def _reply(self, body: bytes) -> HttpReply:
        try:
            request = json.loads(body)
        except ValueError:
            return HttpReply(400, b"Bad Request", "text/plain")
        batch = isinstance(request, list)
        calls: list[Call] = request if batch else [request]
        if self.provider.recording:
            self.provider.calls += calls
        methods = {call["method"] for call in calls}
        for fault in self._striking(Slow, methods):
            await trio.sleep(fault.seconds)
        refusal = next(self._refusals(calls, methods, batch=batch), None)
        if refusal is not None and not refusal.forwards:
            return refusal.reply(b"")
        try:
            answers = await self._answer_all(calls, batch=batch)
        except httpx.TransportError:
            return UNREACHABLE
        if isinstance(answers, HttpReply):
            return answers
        answered = json.dumps(answers if batch else answers[0]).encode()
        return HttpReply(200, answered) if refusal is None else refusal.reply(answered)

    def _striking(self, kind: type[SomeFault], methods: set[str]) -> Iterator[SomeFault]:
        for fault in list(self.provider.faults):
            if isinstance(fault, kind) and fault.strikes(methods, self.provider.dice):
                yield fault

    def _refusals(
        self, calls: Sequence[Call], methods: set[str], *, batch: bool
    ) -> Iterator[RequestFault]:
        for fault in list(self.provider.faults):
            if not isinstance(fault, RequestFault) or not fault.concerns(calls, batch=batch):
                continue
            if fault.strikes(methods, self.provider.dice):
                yield fault

    async def _answer_all(self, calls: Sequence[Call], *, batch: bool) -> list[Answer] | HttpReply:
        """Return the answers in the order of the calls, or the node's own refusal of them all."""
        faults = [list(self._striking(CallFault, {call["method"]})) for call in calls]
        answers: list[Answer | None] = []
        for call, struck in zip(calls, faults, strict=True):
            refused = (fault.answer(call) for fault in struck)
            answers.append(next((each for each in refused if each is not None), None))
        left = [call for call, answer in zip(calls, answers, strict=True) if answer is None]
        forwarded: Iterator[Answer] = iter(())
        if left:
            reply = await self.http.post(self.node_url, json=left if batch else left[0])
            got: Any = reply.json() if reply.status_code == 200 else None
            if got is None or (batch and not isinstance(got, list)):
                kind = reply.headers.get("content-type", "text/plain")
                after = reply.headers.get("retry-after")
                headers = () if after is None else (("retry-after", after),)
                return HttpReply(reply.status_code, reply.content, kind, headers)
            by_id = {each.get("id"): each for each in (got if batch else [got])}
            lost = partial(error_of, code=-32603, message="Internal error")
            forwarded = iter([by_id.get(call.get("id")) or lost(call) for call in left])
        finished = []
        for call, struck, answer in zip(calls, faults, answers, strict=True):
            given = next(forwarded) if answer is None else answer
            for fault in struck if answer is None else ():
                given = fault.change(call, given)
            finished.append(given)
        return finished
