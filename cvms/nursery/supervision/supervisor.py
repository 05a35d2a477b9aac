"""Keep a task running: log what ended it, wait with capped and jittered backoff, start it again."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
import trio

from cvms.errors import ChainUnavailable, ConfigurationError, DatabaseUnavailable, leaves
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard

log = structlog.get_logger(__name__)

OUTAGES = (DatabaseUnavailable, ChainUnavailable)
"""What a dependency does to a task, as against what is wrong with the task itself."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the nth restart in a row. Seconds."""

    first: float = 0.1
    cap: float = 30.0
    outage_cap: float = 1.0
    """An outage ends for all tasks at once, and finding that out costs little: probe soon."""
    healthy_after: float = 30.0
    """A run that lasted this long starts the count again."""

    def delay(self, failures: int, *, outage: bool) -> float:
        """Doubling from `first` to the cap; jittered down to its half, so that tasks spread."""
        cap = self.outage_cap if outage else self.cap
        longest = min(cap, self.first * 2.0 ** min(failures - 1, 32))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


class TaskReturned(Exception):
    """A task that should run for ever has returned."""


async def supervise(
    name: str,
    run: Callable[[], Awaitable[None]],
    *,
    board: StatusBoard,
    metrics: Metrics,
    backoff: Backoff | None = None,
    finite: bool = False,
    expected: float | None = None,
) -> None:
    """Run `run` again whenever it fails; return only once a `finite` one has returned.

    `expected`: seconds within which a run has to say that a round went well, or the board tells
    that the task hangs.

    An exception group is judged as a whole: it is an outage only if every member is, and one that
    holds a cancellation or an interrupt is not ours to handle at all. A ConfigurationError passes,
    because no retry can cure it.
    """
    supervised = _Supervised(name, board, metrics, backoff or Backoff())
    if expected is not None:
        board.task_should_succeed(name, within=expected)
    while True:
        began = trio.current_time()
        board.set_task_state(name, "running")
        try:
            await run()
            if finite:
                board.task_succeeded(name)
                board.set_task_state(name, "finished")
                return
            raise TaskReturned(f"the task {name} returned")
        except Exception as error:
            if _is_all(error, ConfigurationError):
                raise
            delay = supervised.failed(error, lasted=trio.current_time() - began)
        await trio.sleep(delay)


class _Supervised:
    """The failures of one task in a row: what to log, what to count, how long to wait."""

    def __init__(self, name: str, board: StatusBoard, metrics: Metrics, backoff: Backoff) -> None:
        self._name = name
        self._board = board
        self._metrics = metrics
        self._backoff = backoff
        self._failures = 0
        self._outage: str | None = None

    def failed(self, error: Exception, *, lasted: float) -> float:
        """Record a failure after `lasted` seconds of running; return the seconds to wait."""
        outage = _is_all(error, *OUTAGES)
        if lasted >= self._backoff.healthy_after:
            self._failures = 0
        self._failures += 1
        delay = self._backoff.delay(self._failures, outage=outage)
        if outage:
            self._log_outage(error)
        else:
            self._outage = None
            log.error("task failed", task=self._name, retry_in=round(delay, 3), exc_info=error)
        self._metrics.task_restarts.labels(task=self._name).inc()
        self._board.set_task_state(
            self._name, "waiting" if outage else "backoff", error=summary(error)
        )
        return delay

    def _log_outage(self, error: Exception) -> None:
        """One line for an outage however often it is met; a success in between ends it."""
        state = self._board.tasks[self._name]
        outage = f"{_kinds(error)} since {state.last_success}"
        if outage != self._outage:
            log.warning("task waits out an outage", task=self._name, reason=summary(error))
        self._outage = outage


def summary(error: BaseException) -> str:
    """An error in one line, a group as all of its members."""
    return "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(error))


def _kinds(error: BaseException) -> str:
    return ",".join(sorted({type(leaf).__name__ for leaf in leaves(error)}))


def _is_all(error: BaseException, *kinds: type[BaseException]) -> bool:
    return all(isinstance(leaf, kinds) for leaf in leaves(error))
