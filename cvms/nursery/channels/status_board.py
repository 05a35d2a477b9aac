"""Status board: the state of this process's tasks and components, as shown by /ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

import trio

from cvms.checks.finding import Finding
from cvms.nursery.channels.check_progress import CheckProgress
from cvms.nursery.channels.task_liveness import (
    Heartbeat,
    LivenessFault,
    after_failure,
    liveness_fault,
)


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """Status of one thing that readiness depends on. `since` is when `ok` last changed.

    `kind` is `ok` or the kind of trouble, in a word. Only administrators see the detail, which may
    name hosts.
    """

    ok: bool
    detail: str
    since: datetime
    kind: str

    def without_detail(self) -> ComponentStatus:
        """Return the status with its kind as the detail."""
        return replace(self, detail=self.kind.replace("_", " "))


def _not_checked(since: datetime) -> ComponentStatus:
    return ComponentStatus(False, "not checked yet", since, "not_checked")


TaskCondition = Literal["starting", "running", "waiting", "backoff", "finished", "standby"]
"""`waiting`: retries during an outage of a dependency; `backoff`: retries after a failure;
`standby`: another replica runs it.
"""
ACTIVE = frozenset({"running", "waiting", "backoff"})
"""States in which a task is expected to succeed."""


@dataclass(frozen=True, slots=True)
class TaskState:
    """A supervised task as operators see it."""

    name: str
    state: TaskCondition
    restarts: int = 0
    last_error: str | None = None
    last_success: datetime | None = None
    heartbeat: Heartbeat = field(default_factory=lambda: Heartbeat(0.0, 0.0))


class StatusBoard:
    """States of components and tasks. Written by the tasks, read by HTTP and the alert monitor."""

    def __init__(self, components: Iterable[str] = ("database", "rpc", "indexer")) -> None:
        now = datetime.now(UTC)
        self._components = {name: _not_checked(now) for name in components}
        self._tasks: dict[str, TaskState] = {}
        self._faulty_since: dict[str, datetime] = {}
        self.checks = CheckProgress()
        self.warnings: dict[str, str] = {}
        """Reasons of what needs a person, but no other replica, by its name."""
        self.dangers: tuple[Finding, ...] = ()
        """What the checks of the deployment and the database have found to be dangerous."""
        self.was_ready = trio.Event()
        """Set once all components have been ok at the same time."""
        self.stopping = False
        """Whether this process ends, and answers only the requests in progress."""
        self.answers_reads = False
        """Whether the database has answered the last probe's read, if not its write."""

    @property
    def ready(self) -> bool:
        """True if every component is ok."""
        return all(component.ok for component in self.components.values())

    @property
    def traffic_trouble(self) -> str | None:
        """Why no client should be sent to this process, None if it can at least answer reads."""
        if self.stopping:
            return "this process ends"
        if not self.answers_reads:
            return f"database: {self._components['database'].without_detail().detail}"
        return None

    @property
    def components(self) -> Mapping[str, ComponentStatus]:
        """Every component, and a further one for each task that has a liveness fault."""
        faults = self.liveness_faults()
        now = datetime.now(UTC)
        self._faulty_since = {name: self._faulty_since.get(name, now) for name in faults}
        return self._components | {
            f"task {name}": ComponentStatus(False, faults[name].detail, since, faults[name].kind)
            for name, since in self._faulty_since.items()
        }

    def liveness_faults(self) -> dict[str, LivenessFault]:
        """Return the faults of the tasks that crash again and again or make no progress."""
        faults: dict[str, LivenessFault] = {}
        for name, task in self._tasks.items():
            fault = liveness_fault(
                task.heartbeat,
                trio.current_time(),
                running=task.state == "running",
                active=task.state in ACTIVE,
            )
            if fault is not None:
                faults[name] = fault
        return faults

    @property
    def tasks(self) -> Mapping[str, TaskState]:
        """The supervised tasks by name."""
        return self._tasks

    def expect_component(self, name: str) -> None:
        """Add a component that is not checked yet."""
        self._components[name] = _not_checked(datetime.now(UTC))

    def set_component(
        self, name: str, *, ok: bool, detail: str, trouble: str = "unavailable"
    ) -> None:
        """Record a component's status. Its `since` changes only when `ok` does.

        `trouble` is the kind of trouble unless it is ok.
        """
        before = self._components.get(name)
        unchanged = before is not None and before.ok == ok
        since = before.since if before is not None and unchanged else datetime.now(UTC)
        self._components[name] = ComponentStatus(ok, detail, since, "ok" if ok else trouble)
        if self.ready:
            self.was_ready.set()

    def set_task_state(self, name: str, state: TaskCondition, *, error: str | None = None) -> None:
        """Record a task's state. An error counts as a restart."""
        before, now = self._task(name, state), trio.current_time()
        since = before.heartbeat.expected_since if before.state in ACTIVE else now
        heartbeat = replace(before.heartbeat, since=now, expected_since=since)
        if error is not None:
            before = replace(before, restarts=before.restarts + 1, last_error=error)
            if state == "backoff":
                heartbeat = replace(heartbeat, failures=after_failure(heartbeat.failures, now))
        self._tasks[name] = replace(before, state=state, heartbeat=heartbeat)

    def task_succeeded(self, name: str) -> None:
        """Record that a task has completed one run of its work."""
        before = self._task(name, "running")
        heartbeat = replace(before.heartbeat, succeeded=trio.current_time())
        self._tasks[name] = replace(before, last_success=datetime.now(UTC), heartbeat=heartbeat)

    def task_should_succeed(self, name: str, *, within: float) -> None:
        """Expect a task to succeed at least once within so many seconds."""
        before = self._task(name, "starting")
        self._tasks[name] = replace(before, heartbeat=replace(before.heartbeat, expected=within))

    def _task(self, name: str, state: TaskCondition) -> TaskState:
        now = trio.current_time()
        return self._tasks.get(name) or TaskState(name, state, heartbeat=Heartbeat(now, now))
