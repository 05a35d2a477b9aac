"""A SIGKILL of the service between any two steps loses nothing and duplicates nothing."""

from __future__ import annotations

import psycopg
import trio

from cvms.demo import STEPS, run_demo
from tests.acceptance.conftest import System
from tests.acceptance.processes import Command, until_ready


async def test_a_service_killed_after_every_step_loses_and_duplicates_nothing(
    system: System, database_url: str
) -> None:
    output: list[str] = []
    kills = 0
    async with trio.open_nursery() as nursery:
        service: Command = await nursery.start(_serve, system)

        async def kill_and_restart() -> None:
            nonlocal service, kills
            await service.kill()
            kills += 1
            service = await nursery.start(_serve, system)

        await run_demo(system.at, between=kill_and_restart, say=output.append)
        nursery.cancel_scope.cancel()
    assert kills == len(STEPS)
    assert output[-1] == "Everything is as it should be."
    _assert_each_effect_recorded_once(database_url)


async def _serve(system: System, task_status: trio.TaskStatus[Command]) -> None:
    """Report the service once it is ready, and return when its process exits."""
    async with system.serve() as service:
        await until_ready(system.at.url, service)
        task_status.started(service)
        await service.process.wait()


def _assert_each_effect_recorded_once(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        history = connection.execute(
            "SELECT kind, amount, count(*) FROM transactions "
            "GROUP BY kind, amount ORDER BY kind, amount"
        ).fetchall()
        assert history == [
            ("deposit", 1_000_000_000, 2),
            ("lock", 500_000_000, 1),
            ("timelock", 150_000_000, 1),
            ("timelock_release", 150_000_000, 1),
            ("unlock", 500_000_000, 1),
            ("withdraw", 50_000_000, 1),
            ("withdraw", 100_000_000, 2),
            ("withdraw", 400_000_000, 1),
            ("yield_compound", 10_000_000, 1),
            ("yield_deposit", 200_000_000, 1),
            ("yield_withdraw", 210_000_000, 1),
        ]
        landed = connection.execute(
            "SELECT count(*) FROM submissions WHERE state IN ('confirmed', 'finalized') "
            "AND kind <> 'release_timelocks'"
        ).fetchone()
        # Two vaults, two deposits, one delegate, three withdrawals. Releases are left out: the
        # service submits one itself if it is faster than Bob.
        assert landed == (8,)
        differences = connection.execute("SELECT count(*) FROM reconciliation_logs").fetchone()
        assert differences == (0,)
