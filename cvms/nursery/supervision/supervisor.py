"""Supervisor of one task: logs what ended it and restarts it after a growing delay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psycopg
import structlog
import trio

from cvms.chain.backoff import Backoff
from cvms.chain.rpc.transport.error_kinds import ErrorKind, kind_of
from cvms.errors import (
    ChainUnavailable,
    ConfigurationError,
    DatabaseUnavailable,
    RpcError,
    SignerUnavailable,
    leaves,
)
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard

log = structlog.get_logger(__name__)

OUTAGES = (DatabaseUnavailable, ChainUnavailable, SignerUnavailable, psycopg.OperationalError)
"""Failures of a dependency, as opposed to failures of the task itself."""
FIRST_DELAY = 0.1
LONGEST_DELAY = 30.0
LONGEST_OUTAGE_DELAY = 1.0
"""An outage ends for all tasks at once, and probing for its end is cheap."""
STABLE_SECONDS = 30.0
"""A run that lasted this long resets the backoff."""


class TaskReturned(Exception):
    """A task that is not finite has returned."""


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
    """Run `run` and restart it whenever it fails; return only when a `finite` task has returned.

    `expected` is the number of seconds within which a run has to report a success to the board;
    after that the board shows the task as stalled.

    A node's error is an outage too, unless every node would return it, and so is an error that was
    raised from an outage. An exception group is one only if every member is. A group that holds an
    interrupt propagates, of one that holds a cancellation only that, since the task was to end
    anyway. A ConfigurationError propagates too, since no retry can cure it.
    """
    backoff = backoff or Backoff(first=FIRST_DELAY, longest=LONGEST_DELAY)
    supervised = _Supervised(name, board, metrics, backoff)
    metrics.series.start_at_zero(metrics.tasks.restarts, task=(name,))
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
        except BaseExceptionGroup as group:
            failures, cancelled = group.split(Exception)
            if failures is None or cancelled is None:
                raise
            if _is_all(failures, ConfigurationError) or not _is_all(cancelled, trio.Cancelled):
                raise
            supervised.log(failures)
            raise cancelled from None
        await trio.sleep(delay)


def periodic_task(
    board: StatusBoard,
    name: str,
    seconds: float,
    run_once: Callable[[], Awaitable[object]],
    *,
    metrics: Metrics,
) -> tuple[str, Callable[[], Awaitable[None]]]:
    """Return the task that calls `run_once` every `seconds` and reports it to the board."""
    metrics.series.start_at_zero(metrics.tasks.run_seconds, task=(name,))

    async def run() -> None:
        while True:
            with metrics.tasks.timed(name):
                await run_once()
            board.task_succeeded(name)
            await trio.sleep(seconds)

    return name, run


@dataclass(slots=True, eq=False)
class _Supervised:
    """Consecutive failures of one task: logs and counts each, and decides the delay."""

    name: str
    board: StatusBoard
    metrics: Metrics
    backoff: Backoff
    outage: str | None = None

    def failed(self, error: Exception, *, lasted: float) -> float:
        """Record a failure after `lasted` seconds of running; return the seconds to wait."""
        outage = _is_outage(error)
        if lasted >= STABLE_SECONDS:
            self.backoff.reset()
        delay = self.backoff.next(longest=LONGEST_OUTAGE_DELAY if outage else None)
        self.log(error, retry_in=round(delay, 3))
        self.metrics.tasks.restarts.labels(task=self.name).inc()
        self.board.set_task_state(
            self.name, "waiting" if outage else "backoff", error=summary(error)
        )
        return delay

    def log(self, error: Exception, **details: float) -> None:
        """Log an outage without, and any other failure with its traceback and the details."""
        if _is_outage(error):
            self._log_outage(error)
        else:
            self.outage = None
            log.error("task_failed", task=self.name, exc_info=error, **details)

    def _log_outage(self, error: Exception) -> None:
        """Log an outage once, however many runs it ends; a success in between ends the outage."""
        state = self.board.tasks[self.name]
        kinds = sorted({type(leaf).__name__ for leaf in leaves(error)})
        outage = f"{kinds} since {state.last_success}"
        if outage != self.outage:
            log.warning("task_interrupted_by_outage", task=self.name, reason=summary(error))
        self.outage = outage


def summary(error: BaseException) -> str:
    """Return an error as one line; a group as all of its members."""
    return "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(error))


def _is_outage(error: BaseException) -> bool:
    return all(
        isinstance(leaf, OUTAGES)
        # An answer to the question itself, such as bad parameters, is the task's own failure.
        or (isinstance(leaf, RpcError) and kind_of(leaf) is not ErrorKind.ANSWER)
        or (leaf.__cause__ is not None and _is_outage(leaf.__cause__))
        for leaf in leaves(error)
    )


def _is_all(error: BaseException, *kinds: type[BaseException]) -> bool:
    return all(isinstance(leaf, kinds) for leaf in leaves(error))
