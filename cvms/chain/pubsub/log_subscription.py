"""Log subscription to one program: reconnects, and reports when notifications may be missing.

A slot subscription on the same connection serves as a heartbeat. It reveals a node that answers
pings but sends no notifications, or only old ones; another node is then used.
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
from cvms.chain.pubsub.messages import Answer, Notification
from cvms.chain.pubsub.websocket import (
    LOST,
    ConnectionLost,
    OpenStream,
    PubSubConnection,
    PubSubTarget,
    open_connection,
    open_stream,
    reason_of,
)
from cvms.chain.rpc.responses import Count, InContext
from cvms.chain.types import Commitment, Slot
from cvms.errors import ConfigurationError, leaves

SUBSCRIBE_SECONDS = 10.0
FIRST_DELAY = 0.25
MAX_DELAY = 15.0
STABLE_SECONDS = 30.0  # a node that drops connections sooner is still subject to backoff
SILENT_SECONDS = 15.0  # some thirty slots: more than absent leaders explain
MISSED_SLOTS = 10  # a silent node that the chain is so far ahead of has missed notifications
BEHIND_SLOTS = 50

T = TypeVar("T")

_log = structlog.get_logger(__name__)
_LOGS, _SLOTS = "1", "2"  # the ids of the two requests


@dataclass(frozen=True, slots=True)
class LogsSubscribed:
    """The subscription is active from here on; earlier notifications may be missing."""


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
    notices: trio.MemorySendChannel[LogsSubscribed | LogNotice],
    newest: Callable[[], int] | None = None,
    lost: Callable[[], None] = lambda: None,
    open_stream: OpenStream = open_stream,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Send log notifications to `notices` until cancelled; see `keep_connected`.

    `newest` returns the newest slot known from elsewhere: while it does not advance, a silent node
    is not at fault. While `notices` is full, nothing is read from the connection. Nothing is
    dropped, but a node may disconnect a client that lags, which leads to a new Subscribed.
    """

    async def run_session(connection: PubSubConnection) -> None:
        session = _LogSession(connection, notices=notices, newest=newest)
        await session.subscribe(program, commitment)
        await session.forward()

    await keep_connected(urls, run_session, lost=lost, open_stream=open_stream, jitter=jitter)


async def keep_connected(
    urls: Sequence[str],
    session: Callable[[PubSubConnection], Awaitable[None]],
    *,
    ready: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    lost: Callable[[], None] = lambda: None,
    open_stream: OpenStream = open_stream,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Run `session` on one connection after another, until cancelled.

    Each goes to the URL whose connections were lost least often. A session ends by raising
    ConnectionLost, its own or its connection's. Each attempt begins when `ready` returns. `lost` is
    called after each failed attempt and each lost connection. The log has a loss once, and again
    for another reason or after a connection that lasted.
    """
    if not urls:
        raise ConfigurationError("no PubSub URL is given")
    targets = _TargetRotation([PubSubTarget.parse(url) for url in urls])
    backoff = Backoff(first=FIRST_DELAY, longest=MAX_DELAY, jitter=jitter)
    logged: set[tuple[str, ...]] = set()
    while True:
        await ready()
        target = targets.next()
        began, reasons = trio.current_time(), list[str]()
        try:
            async with (
                trio.open_nursery() as nursery,
                open_connection(target, nursery, open_stream=open_stream) as connection,
            ):
                nursery.start_soon(connection.keep_alive)
                await session(connection)
        except* LOST as error:
            lost()
            reasons = sorted({reason_of(each) for each in leaves(error)})
        if stable := trio.current_time() - began > STABLE_SECONDS:
            backoff.reset()
            logged.clear()
        if (loss := (target.host, *reasons)) not in logged:
            logged.add(loss)
            _log.warning("pubsub_connection_lost", host=target.host, reasons=reasons)
        targets.lost(stable=stable)
        await trio.sleep(backoff.next())


class _TargetRotation:
    """Order of targets: of those that were lost least often, the next after the last used."""

    def __init__(self, targets: Sequence[PubSubTarget]) -> None:
        self._targets = targets
        self._losses = [0] * len(targets)
        self._last = -1

    def next(self) -> PubSubTarget:
        count = len(self._targets)
        after = [(self._last + 1 + step) % count for step in range(count)]
        self._last = min(after, key=lambda index: self._losses[index])
        return self._targets[self._last]

    def lost(self, *, stable: bool) -> None:
        """Count a lost connection. `stable`: it lasted, so earlier losses no longer count."""
        self._losses[self._last] = 1 if stable else self._losses[self._last] + 1


class _LogSession:
    """The two subscriptions of one connection.

    There is one of each kind, so a notification needs no id to be told apart. It only tells the
    reader that there is something to fetch: one that cannot be read counts as one that is missing.
    """

    def __init__(
        self,
        connection: PubSubConnection,
        *,
        notices: trio.MemorySendChannel[LogsSubscribed | LogNotice],
        newest: Callable[[], int] | None,
    ) -> None:
        self._connection = connection
        self._notices = notices
        self._newest = newest
        self._unanswered = {_LOGS, _SLOTS}
        self._refusals = 0  # that do not say of which request
        self._has_heartbeat = True
        self._slot = 0
        self._current_at = trio.current_time()

    async def subscribe(self, program: Pubkey, commitment: Commitment) -> None:
        """Subscribe, and return once the node confirms the logs. Raises ConnectionLost."""
        with trio.move_on_after(SUBSCRIBE_SECONDS):
            filters = {"mentions": [str(program)]}
            options = {"commitment": commitment}
            await self._connection.call(int(_LOGS), "logsSubscribe", [filters, options])
            await self._connection.call(int(_SLOTS), "slotSubscribe", [])
            while _LOGS in self._unanswered:
                await self._handle(await self._connection.receive())
            return
        raise ConnectionLost(f"no response to the subscription within {SUBSCRIBE_SECONDS:g} s")

    async def forward(self) -> None:
        """Send notifications to the channel until the connection is lost. Raises ConnectionLost."""
        await self._send(LogsSubscribed())
        while True:
            await self._handle(await self._receive())
            if self._has_heartbeat and trio.current_time() - self._current_at > SILENT_SECONDS:
                raise ConnectionLost(f"more than {BEHIND_SLOTS} slots behind the other nodes")

    async def _receive(self) -> Answer | Notification:
        while True:
            with trio.move_on_after(SILENT_SECONDS if self._has_heartbeat else math.inf):
                return await self._connection.receive()
            if self._newest is None or self._newest() > self._slot + MISSED_SLOTS:
                raise ConnectionLost(f"no notification for {SILENT_SECONDS:g} s")
            self._current_at = trio.current_time()  # the chain does not advance either

    async def _handle(self, message: Answer | Notification) -> None:
        if isinstance(message, Answer):
            self._confirm(message)
        elif message.method == "slotNotification":
            if (at := _decode(message.result, _SlotResult)) is not None:
                self._saw_slot(at.slot)
        elif message.method == "logsNotification":
            if (logs := _decode(message.result, InContext[_LogsValue])) is None:
                await self._send(LogsSubscribed())
                return
            self._saw_slot(logs.context.slot)
            value, slot = logs.value, Slot(logs.context.slot)
            await self._send(LogNotice(value.signature, slot, value.err, value.logs or []))

    def _confirm(self, answer: Answer) -> None:
        """Note an answer. Raises ConnectionLost when the logs are refused."""
        if answer.subscription is not None:
            self._unanswered.discard(answer.request or "")
            self._has_heartbeat = self._has_heartbeat or answer.request == _SLOTS
        elif answer.request == _LOGS:
            raise ConnectionLost("the node refuses the subscription")
        elif answer.request == _SLOTS:
            self._has_heartbeat = False  # some providers lack slotSubscribe: pings must do
            self._unanswered.discard(_SLOTS)
        elif answer.request is None:
            self._refusals += 1
        if self._refusals and self._unanswered == {_SLOTS}:
            self._has_heartbeat = False
        elif self._unanswered and self._refusals >= len(self._unanswered):
            raise ConnectionLost("the node refuses the subscription")

    def _saw_slot(self, slot: int) -> None:
        self._slot = slot
        if self._newest is None or self._newest() <= slot + BEHIND_SLOTS:
            self._current_at = trio.current_time()

    async def _send(self, notice: LogsSubscribed | LogNotice) -> None:
        began = trio.current_time()
        await self._notices.send(notice)
        # Nothing was read meanwhile, so the node is not to blame if the next messages are old.
        self._current_at += trio.current_time() - began


class _LogsValue(msgspec.Struct):
    signature: str
    err: Any = None
    logs: list[str] | None = None


class _SlotResult(msgspec.Struct):
    slot: Count


def _decode(result: Any, kind: type[T]) -> T | None:
    try:
        return msgspec.convert(result, kind)
    except msgspec.ValidationError:
        return None
