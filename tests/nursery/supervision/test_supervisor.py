"""Supervisor: restarts with backoff, one log event for each failure, and liveness faults."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

import psycopg
import pytest
import trio
from solders.keypair import Keypair
from structlog.testing import capture_logs
from trio.testing import MockClock

from cvms.chain.backoff import Backoff
from cvms.config.loader import load_programs
from cvms.config.settings import Config
from cvms.errors import (
    ChainUnavailable,
    ConfigurationError,
    DatabaseUnavailable,
    GapNotClosed,
    RpcError,
)
from cvms.http.service_info.collectors import TaskGauges
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
    """A supervised task that runs the given callables, one in each run, and then sleeps."""

    def __init__(self, *runs: Run, finite: bool = False, backoff: Backoff | None = None) -> None:
        self.runs = list(runs)
        self.starts: list[float] = []
        self.board = StatusBoard()
        self.metrics = Metrics()
        self.idle = trio.Event()
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
        if self.runs:
            await self.runs.pop(0)()
        else:
            self.idle.set()
            await trio.sleep_forever()

    @property
    def delays(self) -> list[float]:
        return [after - before for before, after in zip(self.starts, self.starts[1:], strict=False)]

    def restarts(self) -> float | None:
        return self.metrics.registry.get_sample_value("cvms_task_restarts_total", {"task": "task"})


def failing(error: BaseException, *, after: float = 0) -> Run:
    async def run() -> None:
        await trio.sleep(after)
        raise error

    return run


async def returning() -> None:
    await trio.lowlevel.checkpoint()


async def until_idle(watched: Watched) -> None:
    with trio.fail_after(10_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watched.supervise)
            await watched.idle.wait()
            nursery.cancel_scope.cancel()


async def test_delays_double_to_the_limit_and_are_jittered(autojump_clock: MockClock) -> None:
    watched = Watched(*[failing(ValueError("bug"))] * 9, backoff=Backoff(first=1, longest=60))
    await until_idle(watched)
    for delay, longest in zip(watched.delays, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert longest / 2 <= delay <= longest
    assert watched.restarts() == 9
    assert watched.board.tasks["task"].restarts == 9
    assert watched.board.tasks["task"].state == "running"
    assert watched.board.tasks["task"].last_error == "ValueError: bug"


async def test_a_stable_run_resets_the_backoff(autojump_clock: MockClock) -> None:
    fast, slow = failing(ValueError()), failing(ValueError(), after=31)
    watched = Watched(fast, fast, fast, fast, slow, backoff=Backoff(first=1, longest=30))
    await until_idle(watched)
    assert 4 <= watched.delays[3] <= 8
    assert 31.5 <= watched.delays[4] <= 32


async def test_every_failure_is_logged_once_with_its_traceback(autojump_clock: MockClock) -> None:
    errors = [ValueError("one"), KeyError("two")]
    watched = Watched(*map(failing, errors))
    with capture_logs() as logs:
        await until_idle(watched)
    assert [(entry["log_level"], entry["exc_info"]) for entry in logs] == [
        ("error", error) for error in errors
    ]
    assert all(error.__traceback__ is not None for error in errors)


async def test_an_outage_is_one_warning_however_long_it_lasts(autojump_clock: MockClock) -> None:
    watched = Watched(*[failing(DatabaseUnavailable("refused"))] * 50)
    with capture_logs() as logs:
        await until_idle(watched)
    assert len(logs) == 1
    assert logs[0]["log_level"] == "warning"
    assert "refused" in logs[0]["reason"]
    assert "exc_info" not in logs[0]
    assert max(watched.delays) <= 1


@pytest.mark.parametrize(
    ("code", "level"), [(-32000, "warning"), (-32603, "warning"), (-32602, "error")]
)
async def test_an_error_of_a_node_is_an_outage_unless_the_question_was_wrong(
    code: int, level: str, autojump_clock: MockClock
) -> None:
    with capture_logs() as logs:
        await until_idle(Watched(failing(RpcError(code, "upstream error"))))
    assert [entry["log_level"] for entry in logs] == [level]
    assert ("exc_info" in logs[0]) == (level == "error")


async def test_a_second_outage_after_a_success_is_logged_again(autojump_clock: MockClock) -> None:
    outage = failing(ChainUnavailable("gone"))

    async def works_then_fails() -> None:
        watched.board.task_succeeded("task")
        await outage()

    watched = Watched(outage, outage, works_then_fails, outage)
    with capture_logs() as logs:
        await until_idle(watched)
    assert len(logs) == 2


async def test_a_group_is_an_outage_only_if_every_member_is(autojump_clock: MockClock) -> None:
    outages = ExceptionGroup("", [DatabaseUnavailable("a"), ChainUnavailable("b")])
    mixed = ExceptionGroup("", [DatabaseUnavailable("a"), ExceptionGroup("", [ValueError("b")])])
    watched = Watched(failing(outages), failing(mixed))
    with capture_logs() as logs:
        await until_idle(watched)
    assert [entry["log_level"] for entry in logs] == ["warning", "error"]
    assert logs[1]["exc_info"] is mixed
    assert watched.board.tasks["task"].last_error == "DatabaseUnavailable: a; ValueError: b"


def raised_from(cause: BaseException) -> Exception:
    error = GapNotClosed("the node lost its place in its own list")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (raised_from(RpcError(-32000, "upstream error")), False),
        (raised_from(raised_from(DatabaseUnavailable("gone"))), False),
        (ExceptionGroup("", [raised_from(ChainUnavailable("gone"))]), False),
        (raised_from(ExceptionGroup("", [ChainUnavailable("a"), DatabaseUnavailable("b")])), False),
        (ExceptionGroup("", [psycopg.OperationalError("server closed the connection")]), False),
        (raised_from(ExceptionGroup("", [ChainUnavailable("a"), ValueError("b")])), True),
        (raised_from(RpcError(-32602, "invalid params")), True),
        (raised_from(KeyError("bug")), True),
    ],
    ids=str,
)
async def test_an_outage_is_no_crash_loop_however_it_is_wrapped(
    error: Exception, counts: bool, autojump_clock: MockClock
) -> None:
    fast = Backoff(first=0.1, longest=1)
    watched = Watched(*[failing(error)] * CRASH_LOOP_FAILURES, backoff=fast)
    await until_idle(watched)
    assert ("task" in watched.board.liveness_faults()) == counts


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(1),
        BaseExceptionGroup("", [ValueError("bug"), KeyboardInterrupt()]),
        ConfigurationError("PORT"),
    ],
)
async def test_an_error_that_no_restart_cures_propagates_unchanged(
    error: BaseException, autojump_clock: MockClock
) -> None:
    watched = Watched(failing(error))
    with pytest.raises(type(error)) as caught:
        await watched.supervise()
    assert caught.value is error
    assert len(watched.starts) == 1


async def test_cancellation_ends_the_task(autojump_clock: MockClock) -> None:
    watched = Watched(failing(ValueError("bug"), after=5))
    with trio.move_on_after(1) as scope:
        await watched.supervise()
    assert scope.cancelled_caught
    assert watched.restarts() == 0


async def test_a_task_that_fails_while_it_is_cancelled_ends_and_its_failure_is_logged() -> None:
    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.lowlevel.checkpoint()
            scope.cancel()
            raise ChainUnavailable("late")

    watched = Watched(run)
    with capture_logs() as logs, trio.CancelScope() as scope:
        await watched.supervise()
    assert scope.cancelled_caught
    assert [entry["reason"] for entry in logs] == ["ChainUnavailable: late"]
    assert watched.restarts() == 0
    assert len(watched.starts) == 1


async def test_an_endless_task_that_returns_is_a_failure(autojump_clock: MockClock) -> None:
    watched = Watched(returning)
    with capture_logs() as logs:
        await until_idle(watched)
    assert logs[0]["log_level"] == "error"
    assert "returned" in (watched.board.tasks["task"].last_error or "")


async def test_a_finite_task_is_retried_until_it_returns(autojump_clock: MockClock) -> None:
    watched = Watched(failing(DatabaseUnavailable()), failing(ValueError()), returning, finite=True)
    with trio.fail_after(100):
        await watched.supervise()
    assert len(watched.starts) == 3
    assert watched.board.tasks["task"].state == "finished"
    assert watched.board.tasks["task"].last_success is not None


# --- liveness -------------------------------------------------------------------------------------


def fault_detail(watched: Watched) -> str | None:
    """Return what /ready says about the task."""
    component = watched.board.components.get("task task")
    return None if component is None else component.detail


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
    for name in watched.board.components:
        watched.board.set_component(name, ok=True, detail="fine")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.supervise)
        await trio.sleep(4)  # time for four failures at most
        assert watched.board.ready
        await watched.idle.wait()
        assert fault_detail(watched) == f"failed {CRASH_LOOP_FAILURES} times within 300 seconds"
        assert not watched.board.ready
        began = watched.board.components["task task"].since
        await running_for(watched, HEALTHY_SECONDS - 1)
        assert watched.board.components["task task"].since == began
        await running_for(watched, 2)
        assert fault_detail(watched) is None
        assert watched.board.ready
        nursery.cancel_scope.cancel()


async def test_occasional_failures_are_no_crash_loop(autojump_clock: MockClock) -> None:
    runs = [failing(ValueError(), after=HEALTHY_SECONDS + 1)] * 20
    watched = Watched(*runs, backoff=Backoff(first=0.1, longest=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.supervise)
        for _ in range(8 * 76 * 2):
            assert fault_detail(watched) is None
            await trio.sleep(0.5)
        assert watched.board.tasks["task"].restarts >= 7
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("outage", [DatabaseUnavailable("refused"), ChainUnavailable("gone")])
async def test_a_task_that_waits_for_too_long_is_stalled_and_in_no_crash_loop(
    outage: Exception, autojump_clock: MockClock
) -> None:
    watched = Watched(*[failing(outage)] * 1_000)
    watched.supervise = partial(watched.supervise, expected=60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.supervise)
        for _ in range(240):
            assert watched.board.liveness_faults() == {}
            await trio.sleep(0.25)
        assert watched.board.tasks["task"].restarts > 40
        await trio.sleep(5)
        assert watched.board.liveness_faults()["task"].kind == "stalled"
        watched.board.task_succeeded("task")
        assert watched.board.liveness_faults() == {}
        nursery.cancel_scope.cancel()
    watched.board.set_task_state("task", "standby")  # another replica runs it
    await trio.sleep(100)
    assert watched.board.liveness_faults() == {}


async def test_a_stalled_task_is_not_ready_until_it_succeeds(
    autojump_clock: MockClock,
) -> None:
    watched = Watched()
    watched.supervise = partial(watched.supervise, expected=30)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.supervise)
        await trio.sleep(29)
        assert fault_detail(watched) is None
        watched.board.task_succeeded("task")
        await trio.sleep(29)
        assert fault_detail(watched) is None
        await trio.sleep(2)
        assert fault_detail(watched) == "has not succeeded for 31 seconds (expected within 30)"
        watched.board.task_succeeded("task")
        assert fault_detail(watched) is None
        nursery.cancel_scope.cancel()


def test_a_task_that_only_listens_has_no_deadline() -> None:
    config = Config(
        operators=(Keypair(),),
        database_url="",
        programs=load_programs({}),
        reconciliation_interval=3_600,
    )
    assert seconds_expected("calls", config) is None
    assert seconds_expected("monitor", config) == 120
    assert (seconds_expected("reconciler", config) or 0) > 3 * 3_600  # depends on the setting
    assert seconds_expected("unlisted", config) == 900


async def test_metrics_show_which_task_is_up_and_its_last_success(
    autojump_clock: MockClock,
) -> None:
    watched = Watched(*[failing(ValueError("bug"))] * CRASH_LOOP_FAILURES)
    watched.metrics.registry.register(TaskGauges(watched.board))
    labels = {"task": "task"}

    def sample(name: str) -> float | None:
        return watched.metrics.registry.get_sample_value(name, labels)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.supervise)
        await watched.idle.wait()
        assert (sample("cvms_task_up"), sample("cvms_task_last_success_seconds")) == (0, None)
        await trio.sleep(HEALTHY_SECONDS)
        watched.board.task_succeeded("task")
        assert sample("cvms_task_up") == 1
        assert abs((sample("cvms_task_last_success_seconds") or 0) - time.time()) < 60
        nursery.cancel_scope.cancel()
