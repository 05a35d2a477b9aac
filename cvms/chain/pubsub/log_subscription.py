"""A program's logs, live: subscribe, reconnect, and say when something may have been missed.

The slots are subscribed to on the same connection, as a heartbeat: a node that answers pings and
tells nothing, or tells of a past that the others have left behind, is exchanged for the next.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.backoff import Backoff
from cvms.chain.pubsub.websocket import (
    LOST,
    Connection,
    ConnectionLost,
    OpenStream,
    Target,
    open_connection,
    open_stream,
)
from cvms.chain.rpc.responses import Count
from cvms.chain.types import Commitment, Slot
from cvms.errors import ConfigurationError, leaves

SUBSCRIBE_SECONDS = 10.0
FIRST_DELAY = 0.25
LONGEST_DELAY = 15.0
STABLE_SECONDS = 30.0  # a node that accepts and drops at once must not be asked at full speed
SILENT_SECONDS = 15.0  # some thirty slots: however many leaders are away, one is heard of
MISSED_SLOTS = 10  # by which the chain has moved on while a node told nothing
BEHIND_SLOTS = 50

T = TypeVar("T")

_log = structlog.get_logger(__name__)
_LOGS, _SLOTS = 1, 2  # the ids of the two requests


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The subscription holds from here on; what happened before may have been missed."""


@dataclass(frozen=True, slots=True)
class LogNotice:
    """A transaction that mentions the program. `err` is the node's JSON, None for success."""

    signature: str
    slot: Slot
    err: Any
    logs: list[str]


async def watch_logs(
    urls: Sequence[str],
    program: Pubkey,
    *,
    commitment: Commitment,
    notices: trio.MemorySendChannel[Subscribed | LogNotice],
    newest: Callable[[], int] | None = None,
    open_stream: OpenStream = open_stream,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Run until cancelled, at the URL that was lost least whenever a connection is lost.

    `newest` gives the newest slot known from elsewhere: while that stands still, so may the node.
    A full `notices` makes this wait, and the node in turn: nothing is dropped here, but a node
    may close the connection of a client that lags, which gives a new Subscribed.
    """

    async def follow(connection: Connection) -> None:
        session = _Session(connection, notices=notices, newest=newest)
        await session.subscribe(program, commitment)
        await session.forward()

    await keep_connected(urls, follow, open_stream=open_stream, jitter=jitter)


async def keep_connected(
    urls: Sequence[str],
    session: Callable[[Connection], Awaitable[None]],
    *,
    when: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    lost: Callable[[], None] = lambda: None,
    open_stream: OpenStream = open_stream,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Run `session` on a connection until cancelled, at the URL that was lost least.

    A session ends by raising ConnectionLost, its own or its connection's. Each attempt begins when
    `when` returns; `lost` is called for each that fails and for each connection that is lost.
    """
    if not urls:
        raise ConfigurationError("no PubSub URL is given")
    turns = _Turns([Target.parse(url) for url in urls])
    backoff = Backoff(first=FIRST_DELAY, longest=LONGEST_DELAY, jitter=jitter)
    while True:
        await when()
        target = turns.next()
        began = trio.current_time()
        try:
            async with (
                trio.open_nursery() as nursery,
                open_connection(target, nursery, open_stream=open_stream) as connection,
            ):
                nursery.start_soon(connection.keep_alive)
                await session(connection)
        except* LOST as error:
            lost()
            reasons = sorted({str(each) for each in leaves(error)})
            _log.warning("pubsub connection lost", host=target.host, reasons=reasons)
        stable = trio.current_time() - began > STABLE_SECONDS
        if stable:
            backoff.reset()
        turns.lost(stable=stable)
        await trio.sleep(backoff.next())


class _Turns:
    """Whose turn it is: of those that were lost least often, the one after the last."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._losses = [0] * len(targets)
        self._last = -1

    def next(self) -> Target:
        count = len(self._targets)
        after = [(self._last + 1 + step) % count for step in range(count)]
        self._last = min(after, key=lambda index: self._losses[index])
        return self._targets[self._last]

    def lost(self, *, stable: bool) -> None:
        """`stable`: it held for long, so that earlier losses say nothing any more."""
        self._losses[self._last] = 1 if stable else self._losses[self._last] + 1


class _Session:
    """One connection's two subscriptions. Anything the node should not send ends it."""

    def __init__(
        self,
        connection: Connection,
        *,
        notices: trio.MemorySendChannel[Subscribed | LogNotice],
        newest: Callable[[], int] | None,
    ) -> None:
        self._connection = connection
        self._notices = notices
        self._newest = newest
        self._ids: dict[int, int] = {}
        self._beats = True
        self._slot = 0
        self._fresh_at = trio.current_time()

    async def subscribe(self, program: Pubkey, commitment: Commitment) -> None:
        """Returns once the logs are subscribed to. Raises ConnectionLost."""
        with trio.move_on_after(SUBSCRIBE_SECONDS):
            await self._request(
                _LOGS, "logsSubscribe", {"mentions": [str(program)]}, {"commitment": commitment}
            )
            await self._request(_SLOTS, "slotSubscribe")
            while _LOGS not in self._ids:
                await self._take(_decode(await self._connection.receive(), _Frame))
            return
        raise ConnectionLost(f"no answer to the subscription within {SUBSCRIBE_SECONDS:g} s")

    async def forward(self) -> None:
        """Hand on what comes, until the connection is lost."""
        await self._send(Subscribed())
        while True:
            await self._take(_decode(await self._receive(), _Frame))
            if self._beats and trio.current_time() - self._fresh_at > SILENT_SECONDS:
                raise ConnectionLost(f"more than {BEHIND_SLOTS} slots behind the other nodes")

    async def _request(self, request_id: int, method: str, *params: Any) -> None:
        request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        await self._connection.send(msgspec.json.encode(request).decode())

    async def _receive(self) -> str | bytes:
        while True:
            with trio.move_on_after(SILENT_SECONDS if self._beats else math.inf):
                return await self._connection.receive()
            if self._newest is None or self._newest() > self._slot + MISSED_SLOTS:
                raise ConnectionLost(f"told nothing for {SILENT_SECONDS:g} s")
            self._fresh_at = trio.current_time()  # the chain stands still, and it with it

    async def _take(self, frame: _Frame) -> None:
        if frame.method is None:
            self._confirm(frame)
            return
        if frame.params is None:
            raise ConnectionLost("the node sent something unexpected")
        kind = {"logsNotification": _LOGS, "slotNotification": _SLOTS}.get(frame.method)
        if kind is None or self._ids.get(kind) != frame.params.subscription:
            raise ConnectionLost("the node sent what was not subscribed to")
        if kind == _SLOTS:
            self._heard(_decode(frame.params.result, _SlotResult).slot)
            return
        logs = _decode(frame.params.result, _LogsResult)
        self._heard(logs.context.slot)
        value, slot = logs.value, Slot(logs.context.slot)
        await self._send(LogNotice(value.signature, slot, value.err, value.logs or []))

    def _confirm(self, frame: _Frame) -> None:
        if frame.id == _SLOTS and frame.result is None and _SLOTS not in self._ids:
            self._beats = False  # some providers do not offer it: pings have to do
            return
        if frame.id not in (_LOGS, _SLOTS) or frame.id in self._ids or frame.result is None:
            raise ConnectionLost("the node refuses the subscription")
        self._ids[frame.id] = frame.result

    def _heard(self, slot: int) -> None:
        self._slot = slot
        if self._newest is None or self._newest() <= slot + BEHIND_SLOTS:
            self._fresh_at = trio.current_time()

    async def _send(self, notice: Subscribed | LogNotice) -> None:
        began = trio.current_time()
        await self._notices.send(notice)
        # While this waited nothing was read: what comes now may be old without being late.
        self._fresh_at += trio.current_time() - began


class _Context(msgspec.Struct):
    slot: Count


class _Value(msgspec.Struct):
    signature: str
    err: Any = None
    logs: list[str] | None = None


class _LogsResult(msgspec.Struct):
    context: _Context
    value: _Value


class _SlotResult(msgspec.Struct):
    slot: Count


class _Params(msgspec.Struct):
    subscription: int
    result: msgspec.Raw


class _Frame(msgspec.Struct):
    """An answer to a request, or a notification."""

    id: int | None = None
    result: int | None = None
    method: str | None = None
    params: _Params | None = None


def _decode(message: str | bytes | msgspec.Raw, kind: type[T]) -> T:
    # What cannot be read may have been a notification: only a new subscription makes up for it.
    try:
        return msgspec.json.decode(message, type=kind)
    except (msgspec.DecodeError, RecursionError):
        raise ConnectionLost("the node sent something unexpected") from None
