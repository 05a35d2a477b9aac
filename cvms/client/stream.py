"""A stream of events over WebSocket that survives lost connections.

A task keeps the connection. After each loss it subscribes again from the last `seq` it delivered,
so that the service replays the missed events, or reports that it no longer can. If the consumer
does not read, the task waits. The service may then close the connection, but no event is lost.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from typing import TypeVar

import anyio
import httpx
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from httpx_ws import AsyncWebSocketSession, HTTPXWSException, WebSocketUpgradeError, aconnect_ws
from wsproto.utilities import ProtocolError

from cvms.client.errors import ClientError
from cvms.client.retrying_http import FIRST_DELAY, MAX_DELAY, is_transient, problem_of
from cvms.client.stream_cursors import (
    Event,
    StreamCursors,
    StreamDesynchronized,
    StreamMessage,
    Topic,
)

E = TypeVar("E", bound=BaseException)

log = logging.getLogger(__name__)

MAX_QUEUED = 256
GREETING_SECONDS = 10.0
BURST = 25  # per second, below the 50 frames per second that the service accepts

CONNECTION_ERRORS = (
    StreamDesynchronized,
    HTTPXWSException,
    ProtocolError,
    httpx.TransportError,
    TimeoutError,
)


class Stream(AsyncIterator[StreamMessage]):
    """An async context manager that is an endless iterator inside its block.

    It connects in the background, without a deadline. Iterating raises errors that a new connection
    would not change: SubscriptionRefused for a topic, Problem for the connection.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        url: str,
        topics: Iterable[Topic],
        *,
        note_slot: Callable[[int], None],
    ) -> None:
        self._http = http
        self._note_slot = note_slot
        self._url = url
        self._cursors = StreamCursors(topics)
        self._stack = AsyncExitStack()
        self._messages: MemoryObjectReceiveStream[StreamMessage] | None = None
        self._failure: ClientError | None = None

    async def __aenter__(self) -> Stream:
        send, self._messages = anyio.create_memory_object_stream[StreamMessage](MAX_QUEUED)
        await self._stack.enter_async_context(send)
        await self._stack.enter_async_context(self._messages)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self._keep_connected, send)
        return self

    async def __aexit__(self, *_: object) -> None:
        # Without the block's exception, which the task group would wrap in an exception group.
        await self._stack.aclose()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> StreamMessage:
        if self._messages is None:
            raise RuntimeError("open the stream first: async with client.stream(…) as stream")
        try:
            message = await self._messages.receive()
        except anyio.EndOfStream:
            assert self._failure is not None
            raise self._failure from None
        if isinstance(message, Event):
            self._note_slot(message.slot)
        return message

    async def _keep_connected(self, send: MemoryObjectSendStream[StreamMessage]) -> None:
        """Connect, and reconnect after each loss, until the service refuses."""
        delay = FIRST_DELAY
        async with send:
            while self._failure is None:
                started = anyio.current_time()
                try:
                    await self._receive(send)
                except* ClientError as refusals:
                    self._failure = _first(refusals)
                except* CONNECTION_ERRORS as losses:
                    if anyio.current_time() - started > delay:
                        delay = FIRST_DELAY
                    log.info("lost the connection to %s: %r", self._url, _first(losses))
                    await anyio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                    delay = min(delay * 2, MAX_DELAY)

    async def _receive(self, send: MemoryObjectSendStream[StreamMessage]) -> None:
        """Send the messages of one connection to the queue until it is lost."""
        socket: AsyncWebSocketSession
        try:
            async with aconnect_ws(self._url, self._http) as socket:
                with anyio.fail_after(GREETING_SECONDS):
                    await socket.receive_text()
                await self._subscribe(socket)
                while True:
                    message = self._cursors.read(await socket.receive_text())
                    if message is not None:
                        await send.send(message)
        except WebSocketUpgradeError as error:
            problem = problem_of(error.response)
            if is_transient(problem):
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
