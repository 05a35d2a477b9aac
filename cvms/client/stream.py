"""Events over WebSocket that outlive their connections.

A task of its own keeps the connection: it subscribes again after each loss, from the last `seq`
that was seen, so that the service tells what was missed, or says that it cannot any more. What it
tells waits in a bounded channel: who does not read makes the connection wait, and the service ends
it in the end.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import httpx
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from httpx_ws import AsyncWebSocketSession, HTTPXWSException, aconnect_ws

from cvms.client.errors import SubscriptionRefused

QUEUE = 256
CONNECT_SECONDS = 10.0
FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0
# Only the newest counts of these: a `seq` may be passed over.
CONFLATED = frozenset({"vault_balance_update", "tvl_update", "analytics_update"})


@dataclass(frozen=True, slots=True)
class Topic:
    """What to hear of: a topic, of one owner or of all; `since`: a `seq` to go on from."""

    name: str
    owner: str | None = None
    since: int | None = None
    token: str | None = None


class Event(msgspec.Struct, frozen=True):
    """Something happened, or with type `retracted` a fork took it back: `data` is what was told."""

    type: Literal["event", "retracted"]
    topic: str
    seq: int
    slot: int
    commitment: str
    data: dict[str, Any]
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a topic stands at `seq`. With `reset`, events before it were missed for good."""

    topic: str
    owner: str | None
    seq: int
    data: Any
    reset: bool


class _Message(msgspec.Struct):
    """Any frame of the service."""

    type: str
    topic: str | None = None
    owner: str | None = None
    seq: int = 0
    snapshot: Any = None
    code: str = ""
    detail: str = ""


class _Lost(Exception):
    """The connection is gone, or what came over it cannot be."""


Told = Event | Snapshot


class Stream(AsyncIterator[Told]):
    """An async context manager, and inside it an iterator that does not end by itself.

    Iterating raises SubscriptionRefused when the service refuses a topic.
    """

    def __init__(self, url: str, topics: Sequence[Topic]) -> None:
        self._url = url.replace("http", "ws", 1).rstrip("/") + "/ws"
        self._topics = {(each.name, each.owner): each for each in topics}
        self._seen = {key: each.since for key, each in self._topics.items()}
        self._stack = AsyncExitStack()
        self._told: MemoryObjectReceiveStream[Told | SubscriptionRefused]

    async def __aenter__(self) -> Stream:
        send, self._told = anyio.create_memory_object_stream[Told | SubscriptionRefused](QUEUE)
        await self._stack.enter_async_context(self._told)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(self._keep, send)
        self._stack.callback(tasks.cancel_scope.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Told:
        told = await self._told.receive()
        if isinstance(told, SubscriptionRefused):
            raise told
        return told

    async def _keep(self, send: MemoryObjectSendStream[Told | SubscriptionRefused]) -> None:
        delay = FIRST_DELAY
        refused: list[BaseException] = []
        async with send, httpx.AsyncClient(timeout=CONNECT_SECONDS) as http:
            while not refused:
                began = anyio.current_time()
                try:
                    await self._follow(http, send)
                except* SubscriptionRefused as group:
                    refused += group.exceptions
                except* (_Lost, HTTPXWSException, httpx.TransportError, TimeoutError):
                    delay = FIRST_DELAY if anyio.current_time() - began > delay else delay
                    await anyio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                    delay = min(delay * 2, LONGEST_DELAY)
            for refusal in refused:
                if isinstance(refusal, SubscriptionRefused):
                    await send.send(refusal)

    async def _follow(
        self,
        http: httpx.AsyncClient,
        send: MemoryObjectSendStream[Told | SubscriptionRefused],
    ) -> None:
        """Tell what one connection brings until it is lost."""
        resets: set[tuple[str, str | None]] = set()
        socket: AsyncWebSocketSession
        async with aconnect_ws(self._url, http) as socket:
            with anyio.fail_after(CONNECT_SECONDS):
                await socket.receive_text()  # the greeting
                for key, topic in self._topics.items():
                    await socket.send_text(_subscribe(topic, self._seen[key]))
            while True:
                text = await socket.receive_text()
                for told in self._understand(text.encode(), resets):
                    await send.send(told)

    def _understand(self, raw: bytes, resets: set[tuple[str, str | None]]) -> Sequence[Told]:
        message = _decode(raw, _Message)
        key = (message.topic or "", message.owner)
        match message.type:
            case "event" | "retracted":
                return self._event(_decode(raw, Event))
            case "reset":
                resets.add(key)
            case "subscribed" if key in self._topics:
                before, self._seen[key] = self._seen[key], message.seq
                if before is None or key in resets:
                    reset = key in resets
                    resets.discard(key)
                    return [Snapshot(key[0], key[1], message.seq, message.snapshot, reset)]
            case "error":
                raise SubscriptionRefused(message.code, message.detail)
        return []

    def _event(self, event: Event) -> Sequence[Told]:
        owner = event.data.get("owner")
        keys = [key for key in ((event.topic, None), (event.topic, owner)) if key in self._topics]
        seen = [last for key in keys if (last := self._seen[key]) is not None]
        if not seen or event.seq <= max(seen):
            return []
        last = self._seen.get((event.topic, None))
        if last is not None and event.topic not in CONFLATED and event.seq != last + 1:
            raise _Lost(f"{event.topic} goes from {last} to {event.seq}")
        for key in keys:
            self._seen[key] = event.seq
        return [event]


def _subscribe(topic: Topic, seen: int | None) -> str:
    request = {
        "op": "subscribe",
        "topic": topic.name,
        "owner": topic.owner,
        "since": seen,
        "token": topic.token,
    }
    given = {name: value for name, value in request.items() if value is not None}
    return msgspec.json.encode(given).decode()


def _decode(raw: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        raise _Lost(f"not understood: {error}") from error
