"""What passes between tasks, each with its bound and with who waits and who drops when it is full.

| channel | bound | when full |
|---|---|---|
| `IndexedBatch`, indexer → reconciler | `INDEXED_QUEUE` batches | the indexer waits |
| `Wake` (submitter, broadcaster, balances, timelocks) | one | a second wake is the same wake |
| `Hub`, broadcaster → each WebSocket client | the client's own | that client is closed |
| `AccountRegistry`, chain → each WebSocket client | an account's newest | the older is dropped |

Nothing of value is held here only: what is lost with the process is read again from the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec
import trio

from cvms.nursery.task_health import Pulse, Trouble, after_failure, trouble
from cvms.nursery.ws_wire import text_frame

if TYPE_CHECKING:
    from cvms.store.outbox import OutboxRow

Filter = tuple[str, str | None]
"""A topic, of one owner or of all."""


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


class TimelockWake(Wake):
    """Tells the timelocks task that vaults hold something that falls due."""


@dataclass(frozen=True, slots=True)
class OutboxFrame:
    """One event as every subscriber gets it: where it stands, and the bytes to write as they are,
    a WebSocket message.
    """

    position: int
    topic: str
    seq: int
    owner: str | None
    wire: bytes


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
    return OutboxFrame(row.position, row.topic, row.seq, row.owner, text_frame(payload))


class Subscriber(Protocol):
    """One client of the hub. It bounds what it keeps, and never makes the hub wait."""

    def offer(self, frame: OutboxFrame) -> None:
        """Take a frame of one of its filters; frames come in order of position."""

    def flush(self) -> None:
        """Called once after some offers: the time to send."""

    def cut(self) -> None:
        """Rows were missed: the client has to start over. It is forgotten already."""


class Hub:
    """Fans outbox rows out to subscribers, in order of position. Publishing never waits."""

    def __init__(self) -> None:
        self._subscribers: dict[Subscriber, set[Filter]] = {}
        # Dicts as ordered sets: fan-out order is registration order.
        self._by_filter: dict[Filter, dict[Subscriber, None]] = {}
        self.position: int | None = None
        """Position of the last published row; None before the broadcaster has started."""
        self._moved = trio.lowlevel.ParkingLot()

    def register(self, subscriber: Subscriber) -> None:
        """Let a subscriber in, without filters; `forget` it when its client is gone."""
        self._subscribers[subscriber] = set()

    def publish(self, rows: Iterable[OutboxRow]) -> None:
        """Hand rows to everyone subscribed to their topic (and owner); they come by position."""
        offered: dict[Subscriber, None] = {}
        for row in rows:
            self.position = row.position
            receivers = self._by_filter.get((row.topic, None), {})
            if row.owner is not None:
                receivers = receivers | self._by_filter.get((row.topic, row.owner), {})
            if not receivers:
                continue
            frame = outbox_frame(row)
            offered |= receivers
            for subscriber in list(receivers):
                subscriber.offer(frame)
        for subscriber in offered:
            subscriber.flush()
        self._moved.unpark_all()

    async def reached(self, position: int) -> None:
        """Wait until what the outbox holds up to `position` is handed out, if anybody hands out."""
        while self.position is not None and self.position < position:
            await self._moved.park()

    def reset(self, position: int) -> None:
        """Go on from `position` after rows were missed: every subscriber has to start over."""
        for subscriber in list(self._subscribers):
            self.forget(subscriber)
            subscriber.cut()
        self.position = position
        self._moved.unpark_all()

    def __len__(self) -> int:
        return len(self._subscribers)

    def subscribe(self, subscriber: Subscriber, topic: str, owner: str | None = None) -> None:
        """Offer it a topic from now on: of one owner, or of all when `owner` is None."""
        if subscriber in self._subscribers:
            self._subscribers[subscriber].add((topic, owner))
            self._by_filter.setdefault((topic, owner), {})[subscriber] = None

    def unsubscribe(self, subscriber: Subscriber, topic: str, owner: str | None = None) -> None:
        """Undo one `subscribe`; unknown filters are no-ops."""
        self._subscribers.get(subscriber, set()).discard((topic, owner))
        receivers = self._by_filter.get((topic, owner), {})
        receivers.pop(subscriber, None)
        if not receivers:
            self._by_filter.pop((topic, owner), None)

    def forget(self, subscriber: Subscriber) -> None:
        """Offer it nothing any more. Idempotent."""
        for topic, owner in self._subscribers.pop(subscriber, set()):
            receivers = self._by_filter[topic, owner]
            receivers.pop(subscriber, None)
            if not receivers:
                del self._by_filter[topic, owner]


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that readiness depends on. `since`: when `ok` last changed."""

    ok: bool
    detail: str
    since: datetime


TaskCondition = Literal["starting", "running", "waiting", "backoff", "finished", "standby"]
"""`waiting`: for an outage of what it depends on to end; `backoff`: after a failure; `standby`:
another replica runs it.
"""


@dataclass(frozen=True, slots=True)
class TaskState:
    """A supervised task as operators see it."""

    name: str
    state: TaskCondition
    restarts: int = 0
    last_error: str | None = None
    last_success: datetime | None = None
    pulse: Pulse = field(default_factory=lambda: Pulse(since=0.0))


class OperatorFunds:
    """What the operator has to pay fees with. Written by a task, read by HTTP."""

    def __init__(self, minimum: int = 0) -> None:
        self.minimum = minimum
        self.lamports: int | None = None

    @property
    def enough(self) -> bool:
        """Whether it pays for others; also as long as nobody has looked."""
        return self.lamports is None or self.lamports >= self.minimum


class Board:
    """What /ready and the admin's task list show. Written by the tasks, read by HTTP."""

    def __init__(
        self,
        parts: Iterable[str] = ("database", "rpc", "indexer"),
        *,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        now = datetime.now(UTC)
        self._parts = {name: Part(False, "not checked yet", now) for name in parts}
        self._tasks: dict[str, TaskState] = {}
        self._troubled: dict[str, datetime] = {}
        self._clock = clock
        self.was_ready = trio.Event()
        """Set once every part has been ok at the same time."""

    @property
    def ready(self) -> bool:
        """True when every part is ok."""
        return all(part.ok for part in self.parts.values())

    @property
    def parts(self) -> Mapping[str, Part]:
        """Every part, and a further one for each task that is not well, for as long as it is."""
        found = self.troubles()
        now = datetime.now(UTC)
        self._troubled = {name: self._troubled.get(name, now) for name in found}
        return self._parts | {
            f"task {name}": Part(False, found[name].detail, since)
            for name, since in self._troubled.items()
        }

    def troubles(self) -> dict[str, Trouble]:
        """The tasks that fail again and again, or that nothing comes of."""
        found = {
            name: trouble(task.pulse, self._clock(), running=task.state == "running")
            for name, task in self._tasks.items()
        }
        return {name: each for name, each in found.items() if each is not None}

    @property
    def tasks(self) -> Mapping[str, TaskState]:
        return self._tasks

    def set_part(self, name: str, *, ok: bool, detail: str) -> None:
        """Record a part's condition; `since` moves only when `ok` changes."""
        before = self._parts.get(name)
        unchanged = before is not None and before.ok == ok
        since = before.since if before is not None and unchanged else datetime.now(UTC)
        self._parts[name] = Part(ok, detail, since)
        if self.ready:
            self.was_ready.set()

    def task_is(self, name: str, state: TaskCondition, *, error: str | None = None) -> None:
        """Record what a task does now; an error counts as one restart to come."""
        before, now = self._task(name, state), self._clock()
        pulse = replace(before.pulse, since=now)
        if error is not None:
            before = replace(before, restarts=before.restarts + 1, last_error=error)
            if state == "backoff":
                pulse = replace(pulse, failures=after_failure(pulse.failures, now))
        self._tasks[name] = replace(before, state=state, pulse=pulse)

    def task_succeeded(self, name: str) -> None:
        """Stamp a round of a task's work that went well."""
        before = self._task(name, "running")
        pulse = replace(before.pulse, succeeded=self._clock())
        self._tasks[name] = replace(before, last_success=datetime.now(UTC), pulse=pulse)

    def task_should_succeed(self, name: str, *, within: float) -> None:
        """While it runs, a task that has not done so for so many seconds is not well."""
        before = self._task(name, "starting")
        self._tasks[name] = replace(before, pulse=replace(before.pulse, expected=within))

    def _task(self, name: str, state: TaskCondition) -> TaskState:
        found = self._tasks.get(name)
        return found or TaskState(name, state, pulse=Pulse(since=self._clock()))
