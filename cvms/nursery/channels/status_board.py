"""State of the tasks and components of this process, as /ready and administrators see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import trio

from cvms.nursery.channels.task_liveness import (
    Heartbeat,
    LivenessFault,
    after_failure,
    liveness_fault,
)

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class ComponentStatus:
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
    heartbeat: Heartbeat = field(default_factory=lambda: Heartbeat(since=0.0))


class OperatorFunds:
    """What the operator has to pay fees with. Written by a task, read by HTTP."""

    def __init__(self, minimum: int = 0) -> None:
        self.minimum = minimum
        self.lamports: int | None = None

    @property
    def enough(self) -> bool:
        """Whether it pays for others; also as long as nobody has looked."""
        return self.lamports is None or self.lamports >= self.minimum


class StatusBoard:
    """What /ready and the admin's task list show. Written by the tasks, read by HTTP."""

    def __init__(
        self,
        parts: Iterable[str] = ("database", "rpc", "indexer"),
        *,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        now = datetime.now(UTC)
        self._parts = {name: ComponentStatus(False, "not checked yet", now) for name in parts}
        self._tasks: dict[str, TaskState] = {}
        self._faulty_since: dict[str, datetime] = {}
        self._clock = clock
        self.was_ready = trio.Event()
        """Set once every part has been ok at the same time."""

    @property
    def ready(self) -> bool:
        """True when every part is ok."""
        return all(part.ok for part in self.components.values())

    @property
    def components(self) -> Mapping[str, ComponentStatus]:
        """Every part, and a further one for each task that is not well, for as long as it is."""
        found = self.liveness_faults()
        now = datetime.now(UTC)
        self._faulty_since = {name: self._faulty_since.get(name, now) for name in found}
        return self._parts | {
            f"task {name}": ComponentStatus(False, found[name].detail, since)
            for name, since in self._faulty_since.items()
        }

    def liveness_faults(self) -> dict[str, LivenessFault]:
        """The tasks that fail again and again, or that nothing comes of."""
        found = {
            name: liveness_fault(task.heartbeat, self._clock(), running=task.state == "running")
            for name, task in self._tasks.items()
        }
        return {name: each for name, each in found.items() if each is not None}

    @property
    def tasks(self) -> Mapping[str, TaskState]:
        return self._tasks

    def set_component(self, name: str, *, ok: bool, detail: str) -> None:
        """Record a part's condition; `since` moves only when `ok` changes."""
        before = self._parts.get(name)
        unchanged = before is not None and before.ok == ok
        since = before.since if before is not None and unchanged else datetime.now(UTC)
        self._parts[name] = ComponentStatus(ok, detail, since)
        if self.ready:
            self.was_ready.set()

    def set_task_state(self, name: str, state: TaskCondition, *, error: str | None = None) -> None:
        """Record what a task does now; an error counts as one restart to come."""
        before, now = self._task(name, state), self._clock()
        pulse = replace(before.heartbeat, since=now)
        if error is not None:
            before = replace(before, restarts=before.restarts + 1, last_error=error)
            if state == "backoff":
                pulse = replace(pulse, failures=after_failure(pulse.failures, now))
        self._tasks[name] = replace(before, state=state, heartbeat=pulse)

    def task_succeeded(self, name: str) -> None:
        """Stamp a round of a task's work that went well."""
        before = self._task(name, "running")
        pulse = replace(before.heartbeat, succeeded=self._clock())
        self._tasks[name] = replace(before, last_success=datetime.now(UTC), heartbeat=pulse)

    def task_should_succeed(self, name: str, *, within: float) -> None:
        """While it runs, a task that has not done so for so many seconds is not well."""
        before = self._task(name, "starting")
        self._tasks[name] = replace(before, heartbeat=replace(before.heartbeat, expected=within))

    def _task(self, name: str, state: TaskCondition) -> TaskState:
        found = self._tasks.get(name)
        return found or TaskState(name, state, heartbeat=Heartbeat(since=self._clock()))
