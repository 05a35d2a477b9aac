"""A task that fails comes back, what failed is told once, and nothing is half handled."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from solders.keypair import Keypair
from structlog.testing import capture_logs
from trio.testing import MockClock

from cvms.chain.backoff import Backoff
from cvms.config.loader import load_programs
from cvms.config.settings import Config
from cvms.errors import ChainUnavailable, ConfigurationError, DatabaseUnavailable
from cvms.http.service_info.probe_routes import Tasks
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.task_liveness import (
    CRASH_LOOP_FAILURES,
    HEALTHY_SECONDS,
    seconds_expected,
)
from cvms.nursery.supervision.supervisor import supervise

Run = Callable[[], Awaitable[None]]


class Watched:
    """A supervised task whose rounds are scripted: each a callable; after the last, it waits."""

    def __init__(self, *rounds: Run, finite: bool = False, backoff: Backoff | None = None) -> None:
        self.rounds = list(rounds)
        self.starts: list[float] = []
        self.board = StatusBoard()
        self.metrics = Metrics()
        self.settled = trio.Event()
        self.supervise = partial(
            supervise,
            "task",
            self._run,
            board=self.board,
            metrics=self.metrics,
            backoff=backoff,
            finite=finite,
        )

    async def _run(self) -> None:
        self.starts.append(trio.current_time())
        if self.rounds:
            await self.rounds.pop(0)()
        else:
            self.settled.set()
            await trio.sleep_forever()

    @property
    def waits(self) -> list[float]:
        return [after - before for before, after in zip(self.starts, self.starts[1:], strict=False)]

    def restarts(self) -> float | None:
        return self.metrics.registry.get_sample_value("task_restarts_total", {"task": "task"})


def failing(error: BaseException, *, after: float = 0) -> Run:
    async def run() -> None:
        await trio.sleep(after)
        raise error

    return run


async def returning() -> None:
    await trio.lowlevel.checkpoint()


async def until_settled(watched: Watched) -> None:
    with trio.fail_after(10_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watched.supervise)
            await watched.settled.wait()
            nursery.cancel_scope.cancel()


async def test_waits_double_to_the_cap_and_are_jittered(autojump_clock: MockClock) -> None:
    watched = Watched(*[failing(ValueError("bug"))] * 9, backoff=Backoff(first=1, longest=60))
    await until_settled(watched)
    for wait, longest in zip(watched.waits, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert longest / 2 <= wait <= longest
    assert watched.restarts() == 9
    assert watched.board.tasks["task"].restarts == 9
    assert watched.board.tasks["task"].state == "running"
    assert watched.board.tasks["task"].last_error == "ValueError: bug"


async def test_a_healthy_while_starts_the_count_again(autojump_clock: MockClock) -> None:
    fast, slow = failing(ValueError()), failing(ValueError(), after=31)
    watched = Watched(fast, fast, fast, fast, slow, backoff=Backoff(first=1, longest=30))
    await until_settled(watched)
    assert 4 <= watched.waits[3] <= 8
    assert 31.5 <= watched.waits[4] <= 32


async def test_every_failure_is_logged_once_with_its_traceback(autojump_clock: MockClock) -> None:
    errors = [ValueError("one"), KeyError("two")]
    watched = Watched(*map(failing, errors))
    with capture_logs() as logs:
        await until_settled(watched)
    assert [(entry["log_level"], entry["exc_info"]) for entry in logs] == [
        ("error", error) for error in errors
    ]
    assert all(error.__traceback__ is not None for error in errors)


async def test_an_outage_is_one_warning_however_long_it_lasts(autojump_clock: MockClock) -> None:
    watched = Watched(*[failing(DatabaseUnavailable("refused"))] * 50)
    with capture_logs() as logs:
        await until_settled(watched)
    assert len(logs) == 1
    assert logs[0]["log_level"] == "warning"
    assert "refused" in logs[0]["reason"]
    assert "exc_info" not in logs[0]
    assert max(watched.waits) <= 1


async def test_a_second_outage_after_a_success_is_logged_again(autojump_clock: MockClock) -> None:
    outage = failing(ChainUnavailable("gone"))

    async def works_then_fails() -> None:
        watched.board.task_succeeded("task")
        await outage()

    watched = Watched(outage, outage, works_then_fails, outage)
    with capture_logs() as logs:
        await until_settled(watched)
    assert len(logs) == 2


async def test_a_group_is_an_outage_only_if_every_member_is(autojump_clock: MockClock) -> None:
    outages = ExceptionGroup("", [DatabaseUnavailable("a"), ChainUnavailable("b")])
    mixed = ExceptionGroup("", [DatabaseUnavailable("a"), ExceptionGroup("", [ValueError("b")])])
    watched = Watched(failing(outages), failing(mixed))
    with capture_logs() as logs:
        await until_settled(watched)
    assert [entry["log_level"] for entry in logs] == ["warning", "error"]
    assert logs[1]["exc_info"] is mixed
    assert watched.board.tasks["task"].last_error == "DatabaseUnavailable: a; ValueError: b"


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(1),
        BaseExceptionGroup("", [ValueError("bug"), KeyboardInterrupt()]),
        ConfigurationError("PORT"),
    ],
)
async def test_what_no_restart_can_cure_passes_whole(
    error: BaseException, autojump_clock: MockClock
) -> None:
    watched = Watched(failing(error))
    with pytest.raises(type(error)) as caught:
        await watched.supervise()
    assert caught.value is error
    assert len(watched.starts) == 1


async def test_cancellation_passes_and_ends_the_task(autojump_clock: MockClock) -> None:
    watched = Watched(failing(ValueError("bug"), after=5))
    with trio.move_on_after(1) as scope:
        await watched.supervise()
    assert scope.cancelled_caught
    assert watched.restarts() is None


async def test_an_endless_task_that_returns_is_a_failure(autojump_clock: MockClock) -> None:
    watched = Watched(returning)
    with capture_logs() as logs:
        await until_settled(watched)
    assert logs[0]["log_level"] == "error"
    assert "returned" in (watched.board.tasks["task"].last_error or "")


async def test_a_finite_task_is_retried_until_it_returns(autojump_clock: MockClock) -> None:
    watched = Watched(failing(DatabaseUnavailable()), failing(ValueError()), returning, finite=True)
    with trio.fail_after(100):
        await watched.supervise()
    assert len(watched.starts) == 3
    assert watched.board.tasks["task"].state == "finished"
    assert watched.board.tasks["task"].last_success is not None


# --- whether a task is well ----------------------------------------------------------------------


def named(watched: Watched) -> str | None:
    """What /ready says about the task."""
    part = watched.board.components.get("task task")
    return None if part is None else part.detail


async def running_for(watched: Watched, seconds: float) -> None:
    await trio.sleep(seconds)
    assert watched.board.tasks["task"].state == "running"


async def test_a_crash_loop_is_not_ready_by_name_until_a_run_has_lasted(
    autojump_clock: MockClock,
) -> None:
    watched = Watched(
        *[failing(ValueError("bug"), after=1)] * CRASH_LOOP_FAILURES,
        backoff=Backoff(first=0.1, longest=1),
    )
    for part in watched.board.components:
        watched.board.set_component(part, ok=True, detail="fine")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.supervise)
        await trio.sleep(4)  # time for four failures at most
        assert watched.board.ready
        await watched.settled.wait()
        assert named(watched) == f"failed {CRASH_LOOP_FAILURES} times within 300 seconds"
        assert not watched.board.ready
        began = watched.board.components["task task"].since
        await running_for(watched, HEALTHY_SECONDS - 1)
        assert watched.board.components["task task"].since == began
        await running_for(watched, 2)
        assert named(watched) is None
        assert watched.board.ready
        nursery.cancel_scope.cancel()


async def test_failures_now_and_then_are_no_crash_loop(autojump_clock: MockClock) -> None:
    rounds = [failing(ValueError(), after=HEALTHY_SECONDS + 1)] * 20
    watched = Watched(*rounds, backoff=Backoff(first=0.1, longest=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.supervise)
        for _ in range(8 * 76 * 2):
            assert named(watched) is None
            await trio.sleep(0.5)
        assert watched.board.tasks["task"].restarts >= 7
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("outage", [DatabaseUnavailable("refused"), ChainUnavailable("gone")])
async def test_an_outage_is_waited_out_however_long_and_is_no_trouble(
    outage: Exception, autojump_clock: MockClock
) -> None:
    watched = Watched(*[failing(outage)] * 1_000)
    watched.supervise = partial(watched.supervise, expected=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.supervise)
        for _ in range(400):
            assert watched.board.liveness_faults() == {}
            await trio.sleep(0.25)
        assert watched.board.tasks["task"].restarts > 60
        nursery.cancel_scope.cancel()


async def test_a_task_that_hangs_is_not_ready_until_something_comes_of_it(
    autojump_clock: MockClock,
) -> None:
    watched = Watched()
    watched.supervise = partial(watched.supervise, expected=30)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.supervise)
        await trio.sleep(29)
        assert named(watched) is None
        watched.board.task_succeeded("task")
        await trio.sleep(29)
        assert named(watched) is None
        await trio.sleep(2)
        assert named(watched) == "has not succeeded for 31 seconds (expected within 30)"
        watched.board.task_succeeded("task")
        assert named(watched) is None
        nursery.cancel_scope.cancel()


def test_a_task_that_only_listens_may_hear_nothing_for_as_long_as_it_takes() -> None:
    config = Config(
        operator=Keypair(),
        database_url="",
        programs=load_programs({}),
        reconciliation_interval=3_600,
    )
    assert seconds_expected("calls", config) is None
    assert seconds_expected("monitor", config) == 120
    assert (seconds_expected("reconciler", config) or 0) > 3 * 3_600  # as it is configured
    assert seconds_expected("one that is new", config) == 900


async def test_metrics_say_which_task_is_well_and_when_it_last_was(
    autojump_clock: MockClock,
) -> None:
    watched = Watched(*[failing(ValueError("bug"))] * CRASH_LOOP_FAILURES)
    watched.metrics.registry.register(Tasks(watched.board))
    labels = {"task": "task"}

    def sample(name: str) -> float | None:
        return watched.metrics.registry.get_sample_value(name, labels)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.supervise)
        await watched.settled.wait()
        assert (sample("task_up"), sample("task_last_success_seconds")) == (0, None)
        await trio.sleep(HEALTHY_SECONDS)
        watched.board.task_succeeded("task")
        assert sample("task_up") == 1
        assert abs((sample("task_last_success_seconds") or 0) - time.time()) < 60
        nursery.cancel_scope.cancel()
