"""What passes between tasks, each with its bound and with who waits and who drops when it is full.

| channel | bound | when full |
|---|---|---|
| `IndexedBatch`, indexer → reconciler | `INDEXED_QUEUE` batches | the indexer waits |
| `Wake` (submitter, broadcaster, balances) | one | a second wake is the same wake |
| `Hub`, broadcaster → each WebSocket client | `SUBSCRIBER_QUEUE` frames | that client is closed |

Nothing of value is held here only: what is lost with the process is read again from the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec
import trio

if TYPE_CHECKING:
    from cvms.store.outbox import OutboxRow

INDEXED_QUEUE = 256
SUBSCRIBER_QUEUE = 256


@dataclass(frozen=True, slots=True)
class IndexedBatch:
    """A committed step of the indexer: whose vaults it touched, up to which slot and position."""

    slot: int
    owners: tuple[str, ...]
    position: int


INDEXED_QUEUE = 256
"""Batches that the reconciler has not looked at; the indexer waits when it is full."""


class Reconciliations:
    """Vaults that are to be held against the chain: those of each batch, and those asked for."""

    def __init__(self) -> None:
        self.indexed, self._batches = trio.open_memory_channel[IndexedBatch](INDEXED_QUEUE)
        self._asked: set[str] = set()
        self._everything = False

    def ask(self, owner: str | None) -> None:
        """Have an owner's vault compared at the next look, or with None all of them."""
        if owner is None:
            self._everything = True
        else:
            self._asked.add(owner)
        with suppress(trio.WouldBlock):  # a full queue wakes the reconciler anyway
            self.indexed.send_nowait(IndexedBatch(slot=0, owners=(), position=0))

    async def receive(self) -> list[str]:
        """Wait for a batch, and take the owners of all that are there."""
        batch = await self._batches.receive()
        return [*batch.owners, *self.take()]

    def take(self) -> list[str]:
        """The owners of what is there now."""
        owners, self._asked = list(self._asked), set()
        try:
            while True:
                owners += self._batches.receive_nowait().owners
        except trio.WouldBlock:
            return owners

    def take_everything(self) -> bool:
        """Whether all vaults were asked for since this was last asked."""
        asked, self._everything = self._everything, False
        return asked


class Wake:
    """Says "look again" to one waiting task. Never waits; a second wake is the same wake."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[None](1)

    def wake(self) -> None:
        """Let the next (or current) `wait` return. Callable from any task, at any rate."""
        try:
            self._send.send_nowait(None)
        except trio.WouldBlock:
            return

    async def wait(self, at_most: float) -> bool:
        """Return True once woken, False after `at_most` seconds without a wake."""
        with trio.move_on_after(at_most):
            await self._receive.receive()
            return True
        return False


class SubmitWake(Wake):
    """Tells the submitter that `submissions` holds something new to send."""


class OutboxWake(Wake):
    """Tells the broadcaster that `outbox` may hold something new to publish."""


class TvlWake(Wake):
    """Tells the balances task that vaults have moved."""


@dataclass(frozen=True, slots=True)
class OutboxFrame:
    """One event as every subscriber gets it: where it stands, and the JSON to write as it is."""

    position: int
    topic: str
    seq: int
    owner: str | None
    payload: bytes


def outbox_frame(row: OutboxRow) -> OutboxFrame:
    """The frame of an outbox row, serialized once for all who receive it (see /ws in the API)."""
    payload = msgspec.json.encode(
        {
            "type": row.type,
            "topic": row.topic,
            "seq": row.seq,
            "slot": row.slot,
            "signature": row.signature,
            "commitment": row.commitment,
            "data": row.data,
        }
    )
    return OutboxFrame(row.position, row.topic, row.seq, row.owner, payload)


class Subscriber:
    """One client of the hub: its filters and its bounded queue. Made by `Hub.register`."""

    def __init__(self, hub: Hub, queue_size: int) -> None:
        self._hub = hub
        self._send, self._receive = trio.open_memory_channel[OutboxFrame](queue_size)
        self.overflowed = False
        """True once closed because frames were lost to it; the client has to start over."""

    def subscribe(self, topic: str, owner: str | None = None) -> None:
        """Receive a topic from now on: of one owner, or of all when `owner` is None."""
        self._hub._subscribe(self, (topic, owner))

    def unsubscribe(self, topic: str, owner: str | None = None) -> None:
        """Undo one `subscribe`; unknown subscriptions are no-ops. Queued frames still arrive."""
        self._hub._unsubscribe(self, (topic, owner))

    async def receive(self) -> OutboxFrame:
        """The next frame, in order of position. Raises trio.EndOfChannel once closed and drained.

        After an overflow the end comes at once: what is queued is no longer all there was.
        """
        if self.overflowed:
            raise trio.EndOfChannel
        return await self._receive.receive()

    def close(self) -> None:
        """Leave the hub. Idempotent."""
        self._hub._forget(self)
        self._send.close()

    def _offer(self, frame: OutboxFrame) -> None:
        try:
            self._send.send_nowait(frame)
        except trio.WouldBlock:
            self._cut()

    def _cut(self) -> None:
        self.overflowed = True
        self.close()


class Hub:
    """Fans outbox rows out to subscribers, in order of position. Publishing never waits."""

    def __init__(self) -> None:
        self._subscribers: dict[Subscriber, set[tuple[str, str | None]]] = {}
        # Dicts as ordered sets: fan-out order is registration order.
        self._by_filter: dict[tuple[str, str | None], dict[Subscriber, None]] = {}
        self.position: int | None = None
        """Position of the last published row; None before the broadcaster has started."""

    def register(self, queue_size: int = SUBSCRIBER_QUEUE) -> Subscriber:
        """A new subscriber without subscriptions; close it when its client is gone."""
        subscriber = Subscriber(self, queue_size)
        self._subscribers[subscriber] = set()
        return subscriber

    def publish(self, row: OutboxRow) -> None:
        """Hand a row to everyone subscribed to its topic (and owner); rows come by position."""
        self.position = row.position
        receivers = dict(self._by_filter.get((row.topic, None), {}))
        if row.owner is not None:
            receivers |= self._by_filter.get((row.topic, row.owner), {})
        if not receivers:
            return
        frame = outbox_frame(row)
        for subscriber in receivers:
            subscriber._offer(frame)

    def reset(self, position: int) -> None:
        """Go on from `position` after rows were missed: every subscriber has to start over."""
        for subscriber in list(self._subscribers):
            subscriber._cut()
        self.position = position

    def __len__(self) -> int:
        return len(self._subscribers)

    def _subscribe(self, subscriber: Subscriber, filter_: tuple[str, str | None]) -> None:
        if subscriber in self._subscribers:
            self._subscribers[subscriber].add(filter_)
            self._by_filter.setdefault(filter_, {})[subscriber] = None

    def _unsubscribe(self, subscriber: Subscriber, filter_: tuple[str, str | None]) -> None:
        self._subscribers.get(subscriber, set()).discard(filter_)
        receivers = self._by_filter.get(filter_, {})
        receivers.pop(subscriber, None)
        if not receivers:
            self._by_filter.pop(filter_, None)

    def _forget(self, subscriber: Subscriber) -> None:
        for filter_ in self._subscribers.get(subscriber, set()).copy():
            self._unsubscribe(subscriber, filter_)
        self._subscribers.pop(subscriber, None)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that readiness depends on. `since`: when `ok` last changed."""

    ok: bool
    detail: str
    since: datetime


TaskCondition = Literal["starting", "running", "waiting", "backoff", "finished"]
"""`waiting`: for an outage of what it depends on to end; `backoff`: after a failure."""


@dataclass(frozen=True, slots=True)
class TaskState:
    """A supervised task as operators see it."""

    name: str
    state: TaskCondition
    restarts: int = 0
    last_error: str | None = None
    last_success: datetime | None = None


class Board:
    """What /ready and the admin's task list show. Written by the tasks, read by HTTP."""

    def __init__(self, parts: Iterable[str] = ("database", "rpc", "indexer")) -> None:
        now = datetime.now(UTC)
        self._parts = {name: Part(False, "not checked yet", now) for name in parts}
        self._tasks: dict[str, TaskState] = {}

    @property
    def ready(self) -> bool:
        """True when every part is ok."""
        return all(part.ok for part in self._parts.values())

    @property
    def parts(self) -> Mapping[str, Part]:
        return self._parts

    @property
    def tasks(self) -> Mapping[str, TaskState]:
        return self._tasks

    def set_part(self, name: str, *, ok: bool, detail: str) -> None:
        """Record a part's condition; `since` moves only when `ok` changes."""
        before = self._parts.get(name)
        unchanged = before is not None and before.ok == ok
        since = before.since if before is not None and unchanged else datetime.now(UTC)
        self._parts[name] = Part(ok, detail, since)

    def task_is(self, name: str, state: TaskCondition, *, error: str | None = None) -> None:
        """Record what a task does now; an error counts as one restart to come."""
        before = self._tasks.get(name) or TaskState(name, state)
        if error is None:
            self._tasks[name] = replace(before, state=state)
        else:
            self._tasks[name] = replace(
                before, state=state, restarts=before.restarts + 1, last_error=error
            )

    def task_succeeded(self, name: str) -> None:
        """Stamp a round of a task's work that went well."""
        before = self._tasks.get(name) or TaskState(name, "running")
        self._tasks[name] = replace(before, last_success=datetime.now(UTC))
