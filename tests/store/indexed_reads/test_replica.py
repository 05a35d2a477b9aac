"""A replica that is down, behind, promoted or foreign answers nothing, and says why."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import trio

from cvms.store.indexed_reads import primary
from cvms.store.indexed_reads.snapshot import ReadBound
from tests.harness.postgres_pair import Pair, execute, postgres_pair
from tests.store.indexed_reads.conftest import Replicated, pause, replicated, resume
from tests.store.own_server import OwnServer

MIGRATED = "INSERT INTO schema_migrations (version, name) VALUES (999, 'later')"


async def total(servers: Replicated) -> int:
    row = await servers.reader.vault_row("owner", ReadBound())
    assert row is not None
    return row.total


async def until(servers: Replicated, trouble: str | None) -> None:
    with trio.fail_after(30):
        while servers.trouble != trouble:
            await servers.reader.check()
            await trio.lowlevel.checkpoint()


async def test_a_replica_that_lags_is_left_out_until_it_has_caught_up(pair: Pair) -> None:
    async with replicated(pair, max_lag=1.0) as servers:
        await servers.write(100, 1)
        await until(servers, None)
        pause(pair)
        await servers.write(200, 2)
        await until(servers, "lagging")
        assert await total(servers) == 2
        assert "more than 1 s" in servers.reader.summary
        assert sample(servers, "cvms_read_replica_up") == 0
        assert sample(servers, "cvms_read_replica_lag_seconds") > 1

        resume(pair)
        await servers.write(300, 3)
        await until(servers, None)
        assert sample(servers, "cvms_read_replica_up") == 1


async def test_lag_is_noticed_by_the_read_itself(servers: Replicated) -> None:
    pause(servers.pair)
    await servers.write(200, 2)
    servers.reader.replicas[0]._max_lag = -1.0
    assert servers.trouble is None
    assert await total(servers) == 2
    assert servers.trouble == "lagging"


async def test_a_replica_that_is_killed_fails_no_read(servers: Replicated) -> None:
    assert await total(servers) == 1
    servers.pair.standby.stop()
    assert await total(servers) == 1
    assert servers.answered_by("primary") == 1
    await servers.reader.check()
    assert servers.trouble == "refused"
    servers.pair.standby.start()
    await servers.write(200, 2)
    await until(servers, None)
    assert sample(servers, "cvms_read_replica_slot") == 200


async def test_a_replica_that_is_silent_delays_a_read_and_fails_none(servers: Replicated) -> None:
    assert await total(servers) == 1
    servers.pair.standby.freeze()
    try:
        assert await total(servers) == 1
        assert servers.answered_by("primary") == 1
        await servers.reader.check()
        assert servers.trouble == "timeout"
    finally:
        servers.pair.standby.thaw()
    await servers.write(200, 2)
    await until(servers, None)


async def test_a_replica_with_an_older_schema_is_left_out(servers: Replicated) -> None:
    pause(servers.pair)
    execute(servers.pair.primary.uri(), MIGRATED)
    await servers.reader.check()
    assert servers.trouble == "other_version"
    resume(servers.pair)
    await servers.reader.check()
    assert servers.trouble is None


async def test_other_databases_are_refused(pair: Pair, own_server: OwnServer) -> None:
    """Another cluster, another database of the same one, and another schema of the same one."""
    with psycopg.connect(pair.primary.uri(), autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS other")
        conn.execute("CREATE DATABASE other")
    elsewhere = pair.standby.uri(options="-csearch_path%3Dpg_catalog")
    other_database = pair.standby.uri().replace("/postgres?", "/other?")
    async with replicated(pair, own_server.uri(), other_database, elsewhere) as servers:
        await servers.write(100, 1)
        await servers.reader.check()
        assert [each.trouble for each in servers.reader.replicas] == ["other_cluster"] * 3
        assert await total(servers) == 1
        assert servers.answered_by("primary") == 1


async def test_the_primary_itself_is_no_replica(pair: Pair) -> None:
    async with replicated(pair, pair.primary.uri()) as servers:
        await servers.reader.check()
        assert servers.trouble == "not_in_recovery"


@pytest.fixture
def own_pair() -> Iterator[Pair]:
    with postgres_pair() as pair:
        execute(pair.primary.uri(), "ALTER SYSTEM SET synchronous_standby_names = ''")
        execute(pair.primary.uri(), "SELECT pg_reload_conf()")
        yield pair


async def test_a_promoted_replica_answers_nothing_more(own_pair: Pair) -> None:
    """From the next read on: by then it may have other rows than the primary."""
    async with replicated(own_pair) as servers:
        await servers.write(100, 1)
        await until(servers, None)
        own_pair.standby.promote()
        execute(own_pair.standby.uri(), "UPDATE vaults SET (total, available) = (6, 6)")
        assert await total(servers) == 1
        assert servers.trouble == "not_in_recovery"
        await servers.reader.check()
        assert servers.trouble == "not_in_recovery"


def sample(servers: Replicated, name: str) -> float:
    value = servers.metrics.registry.get_sample_value(name, {"replica": "1"})
    assert value is not None
    return value


async def test_a_role_that_may_not_compare_servers_is_told_and_reads_go_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with providers that take functions away from their customers' roles."""
    denied = "DO $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'permission denied'; END $$"
    monkeypatch.setattr(primary, "READ", denied)
    async with replicated(pair) as servers:
        await servers.write(100, 1)
        await servers.reader.check()
        assert await total(servers) == 1
        assert servers.answered_by("primary") == 1
        assert "compared with the server of DATABASE_URL: permission denied" in (
            servers.reader.summary
        )
