"""A SIGKILL of the service between any two steps loses nothing and duplicates nothing."""

from __future__ import annotations

import psycopg
import pytest

from cvms.demo import STEPS, run_demo
from tests.acceptance.conftest import System
from tests.harness.processes import COMPONENTS, until_ready

pytestmark = pytest.mark.slow(seconds=70)


async def test_a_service_killed_after_every_step_loses_and_duplicates_nothing(
    system: System, database_url: str
) -> None:
    output: list[str] = []
    async with system.serve() as server:

        async def kill_and_restart() -> None:
            await server.kill()
            await server.start()
            await until_ready(server.url, server, components=COMPONENTS)

        await until_ready(server.url, server)
        await run_demo(system.at, between=kill_and_restart, say=output.append)
    assert server.kills == len(STEPS)
    assert output[-1] == "Everything is as it should be."
    _assert_each_effect_recorded_once(database_url)


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
