"""A run of chaos: warm up, faults under load, cool down, and then what has to be true.

The memory of the first replica is compared, which is stopped and cut off but never killed: after
the same time without faults, under the same load, before the faults and after them.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import psutil
import trio

from tests.chaos.dependencies import Chaos, Replica
from tests.chaos.faults import FaultPlan
from tests.chaos.load import REPLY_SECONDS, Load, LossyTransport
from tests.harness.processes import HANG_SECONDS, until_ready
from tests.scenario.checks import Violation
from tests.scenario.scenario_runner import (
    Outcome,
    find_violations,
    open_vaults,
    stop_when_idle,
    wait_until_idle,
)
from tests.scenario.truth import read_truth

OWNERS = 8
IDLE_SECONDS = 300.0
PAUSE_SECONDS = 3.0
"""Between two rounds of faults, at most."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What has happened, and what should not have."""

    faults: Counter[str] = field(default_factory=Counter)
    replies: Counter[int] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    slowest_recovery: float = 0.0
    """Seconds from the end of a round's faults until both replicas were ready."""
    megabytes: tuple[float, float] = (0.0, 0.0)
    """Resident memory of the first replica, before the faults and after."""
    violations: list[Violation] = field(default_factory=list)

    @property
    def growth(self) -> float:
        before, after = self.megabytes
        return after / before - 1


async def run_chaos(
    chaos: Chaos, *, seed: int, seconds: float, calm: float, fault_seconds: tuple[float, float]
) -> Report:
    """Run faults for `seconds` between two times of `calm` seconds, and check everything."""
    rng = random.Random(seed)
    plan = FaultPlan(chaos, rng, fault_seconds)
    async with start_load(chaos, seed=seed) as load:
        report = Report(faults=plan.happened, replies=load.replies)
        await trio.sleep(calm)
        before = _megabytes(chaos.replicas[0])
        await _make_faults(chaos, plan, rng, report, seconds)
        await trio.sleep(calm)
        report.megabytes = (before, _megabytes(chaos.replicas[0]))
    report.violations = await check_all(chaos, load)
    report.requests = Counter(each.outcome for each in load.intents)
    return report


@asynccontextmanager
async def start_load(chaos: Chaos, *, seed: int) -> AsyncIterator[Load]:
    """Start both replicas, and load them for the block, at whose start both are ready.

    Afterwards each client has its last reply. Then both replicas end in order, once all is done.
    """
    rng = random.Random(seed)
    wallets = open_vaults(chaos.context, rng, owners=OWNERS)
    load = Load(chaos, wallets, rng)
    for replica in chaos.replicas:
        await replica.server.start()
    transport = LossyTransport(random.Random(seed))
    async with (
        httpx.AsyncClient(timeout=REPLY_SECONDS, transport=transport) as http,
        trio.open_nursery() as listening,
    ):
        listening.start_soon(load.listen)
        async with trio.open_nursery() as loading:
            loading.start_soon(load.run, http)
            await _until_all_ready(chaos)
            yield load
            load.ending.set()
        load.statuses["two"] = await _stop_second(chaos, load)
        first = load.listeners[:1]
        load.statuses["one"] = await stop_when_idle(chaos.context, first, timeout=IDLE_SECONDS)
        listening.cancel_scope.cancel()


async def check_all(chaos: Chaos, load: Load) -> list[Violation]:
    """Return what is wrong with answers, books, requests, processes and the index."""
    truth = read_truth(chaos.context.chain, chaos.context.programs)
    outcome = Outcome(truth, load.intents, load.listeners, Counter())
    violations = list(find_violations(chaos.context, outcome))
    violations += [Violation("V8", "http", text) for text in [*load.failures, *_idle_load(load)]]
    violations += [
        Violation("V8", "process", f"replica {name} ended with {status}")
        for name, status in load.statuses.items()
        if status != 0
    ]
    violations += [Violation("V8", "log", line) for line in _failures_in_logs(chaos)]
    if problem := await _rebuild_index(chaos):
        violations.append(Violation("V1", "index rebuild", problem))
    return violations


async def _stop_second(chaos: Chaos, load: Load) -> int:
    """Stop the second replica once its listener has every event; return its exit status."""
    await wait_until_idle(chaos.context, load.listeners, timeout=IDLE_SECONDS)
    return await chaos.replicas[1].server.stop(within=HANG_SECONDS)


def _idle_load(load: Load) -> Iterator[str]:
    """Yield what should have happened and did not: faults prove nothing to a service that rests."""
    outcomes = Counter(intent.outcome for intent in load.intents)
    if not outcomes["submitted"]:
        yield f"nothing was submitted: {dict(outcomes)}"
    if not load.replies[200]:
        yield f"no read was answered: {dict(load.replies)}"
    for name, listener in zip(("one", "two"), load.listeners, strict=True):
        if not any(listener.seen.values()):
            yield f"the listener of replica {name} has received nothing"


def _failures_in_logs(chaos: Chaos) -> Iterator[str]:
    """Yield what no outage explains: a task's own failure, and a traceback that ends a process."""
    for replica in chaos.replicas:
        for line in (replica.server.folder / "server.log").read_text().splitlines():
            if '"event": "task_failed"' in line or line.startswith("Traceback"):
                yield line


async def _rebuild_index(chaos: Chaos) -> str:
    """Build the index a second time from the chain; return what differs."""
    command = [sys.executable, "-m", "cvms.cli", "index", "rebuild"]
    environ = chaos.context.server.environ
    result = await trio.run_process(
        command,
        env={**os.environ, **environ},
        check=False,
        capture_stdout=True,
        capture_stderr=True,
    )
    if result.returncode == 0:
        return ""
    return f"{result.stdout.decode()}\n{result.stderr.decode()}"


async def _make_faults(
    chaos: Chaos, plan: FaultPlan, rng: random.Random, report: Report, seconds: float
) -> None:
    """Make rounds of faults, and wait after each until both replicas are ready by themselves."""
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        faults = plan.draw()
        await plan.run(faults)
        ended = trio.current_time()
        await _until_all_ready(chaos)
        recovery = trio.current_time() - ended
        print(f"{recovery:6.2f} s after {', '.join(name for name, _ in faults)}")  # noqa: T201
        report.slowest_recovery = max(report.slowest_recovery, recovery)
        await trio.sleep(PAUSE_SECONDS * rng.random())


async def _until_all_ready(chaos: Chaos) -> None:
    for replica in chaos.replicas:
        await until_ready(replica.server.url, replica.server)


def _megabytes(replica: Replica) -> float:
    return float(psutil.Process(replica.server.pid).memory_info().rss) / 2**20
