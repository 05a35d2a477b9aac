"""Events over WebSocket that outlive their connections.

A task of its own keeps the connection: it subscribes again after each loss, from the last `seq`
that was told, so that the service tells what was missed, or says that it cannot any more. Who does
not read makes that task wait, the service ends the connection in the end, and nothing is lost.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from typing import TypeVar

import anyio
import httpx
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from httpx_ws import AsyncWebSocketSession, HTTPXWSException, WebSocketUpgradeError, aconnect_ws
from wsproto.utilities import ProtocolError

from cvms.client.errors import ClientError
from cvms.client.retrying_http import FIRST_DELAY, LONGEST_DELAY, is_passing, problem_of
from cvms.client.stream_cursors import StreamCursors, StreamDesynchronized, StreamMessage, Topic

E = TypeVar("E", bound=BaseException)

log = logging.getLogger(__name__)

QUEUE = 256  # told and not yet read
GREETING_SECONDS = 10.0
# The service takes 50 frames in a second.
BURST = 25

LOST = (StreamDesynchronized, HTTPXWSException, ProtocolError, httpx.TransportError, TimeoutError)


class Stream(AsyncIterator[StreamMessage]):
    """An async context manager, and inside it an iterator that does not end by itself.

    Connecting goes on in the background, for as long as it takes. Iterating raises what no other
    connection would change: SubscriptionRefused for a topic, Problem for the connection itself.
    """

    def __init__(self, http: httpx.AsyncClient, url: str, topics: Iterable[Topic]) -> None:
        self._http = http
        self._url = url
        self._cursors = StreamCursors(topics)
        self._stack = AsyncExitStack()
        self._told: MemoryObjectReceiveStream[StreamMessage] | None = None
        self._failure: ClientError | None = None

    async def __aenter__(self) -> Stream:
        send, self._told = anyio.create_memory_object_stream[StreamMessage](QUEUE)
        await self._stack.enter_async_context(send)
        await self._stack.enter_async_context(self._told)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self._keep, send)
        return self

    async def __aexit__(self, *_: object) -> None:
        # Without the block's own exception: the task group would wrap it, and it is not the task's.
        await self._stack.aclose()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> StreamMessage:
        if self._told is None:
            raise RuntimeError("a stream is opened first: async with client.stream(…) as stream")
        try:
            return await self._told.receive()
        except anyio.EndOfStream:
            assert self._failure is not None
            raise self._failure from None

    async def _keep(self, send: MemoryObjectSendStream[StreamMessage]) -> None:
        """Connect, and connect again, until the service refuses."""
        delay = FIRST_DELAY
        async with send:
            while self._failure is None:
                began = anyio.current_time()
                try:
                    await self._follow(send)
                except* ClientError as refusals:
                    self._failure = _first(refusals)
                except* LOST as losses:
                    if anyio.current_time() - began > delay:
                        delay = FIRST_DELAY
                    log.info("connection to %s is lost: %r", self._url, _first(losses))
                    await anyio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                    delay = min(delay * 2, LONGEST_DELAY)

    async def _follow(self, send: MemoryObjectSendStream[StreamMessage]) -> None:
        """Tell what one connection brings, until it is lost."""
        socket: AsyncWebSocketSession
        try:
            async with aconnect_ws(self._url, self._http) as socket:
                with anyio.fail_after(GREETING_SECONDS):
                    await socket.receive_text()
                await self._subscribe(socket)
                while True:
                    told = self._cursors.read(await socket.receive_text())
                    if told is not None:
                        await send.send(told)
        except WebSocketUpgradeError as error:
            problem = problem_of(error.response)
            if is_passing(problem):
                raise
            raise problem from None

    async def _subscribe(self, socket: AsyncWebSocketSession) -> None:
        for number, request in enumerate(self._cursors.requests(), 1):
            await socket.send_text(request)
            if number % BURST == 0:
                await anyio.sleep(1.0)


def _first(group: BaseExceptionGroup[E]) -> E:
    [first, *_] = group.exceptions
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
