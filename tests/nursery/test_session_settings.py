"""What others set for the database or the role changes nothing: not how money is read or kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import psycopg
import pytest
from psycopg import sql

from cvms.nursery.scheduled.balance_snapshots import SnapshotWriter
from cvms.nursery.scheduled.retention import Retention
from cvms.store.security import audit_log, audit_verification, second_factors
from cvms.store.security.encryption import SecretBox
from tests.harness.localnet import Localnet
from tests.harness.resources import config_for_tests, open_prepared_resources
from tests.harness.service import whole_service
from tests.http.wallets import USDT, deposit, funded, initialize, land, signed
from tests.nursery.world import World, assert_books_match

HOSTILE = {
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Pacific/Chatham",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "lock_timeout": "1",
    "idle_session_timeout": "5000",
    "idle_in_transaction_session_timeout": "1",
    "statement_timeout": "5000",
    "exit_on_error": "on",
    "plpgsql.extra_errors": "all",
    "session_replication_role": "replica",
    "row_security": "on",
}
EXPECTED = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "synchronous_commit": "on",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "30s",
    "statement_timeout": "10s",
    "exit_on_error": "off",
    "plpgsql.extra_errors": "none",
    "session_replication_role": "origin",
    "row_security": "off",
}
ONE_BY_ONE = [{name: value} for name, value in HOSTILE.items()]
ISOLATION = "default_transaction_isolation"


def alter_database(uri: str, settings: Mapping[str, str]) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        database = sql.Identifier(connection.info.dbname)
        for name, value in settings.items():
            setting = sql.SQL(name)
            alter = sql.SQL("ALTER DATABASE {} SET {} = {}")
            connection.execute(alter.format(database, setting, sql.Literal(value)))


@pytest.fixture(
    params=[*ONE_BY_ONE, {ISOLATION: "repeatable read"}, HOSTILE, {"search_path": "books"}],
    ids=lambda settings: "all" if len(settings) > 1 else "-".join(*settings.items()),
)
def settings(request: pytest.FixtureRequest, empty_database_url: str) -> Mapping[str, str]:
    """Change the settings of a database, before the schema is applied."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA books")
    changed: Mapping[str, str] = request.param
    alter_database(empty_database_url, changed)
    return changed


@pytest.fixture
async def world(
    settings: Mapping[str, str], empty_database_url: str, localnet: Localnet
) -> AsyncIterator[World]:
    config = config_for_tests(empty_database_url, **localnet.settings)
    async with open_prepared_resources(config) as resources:
        yield World(localnet.running, resources)


async def test_books_are_kept_whatever_the_settings_of_the_database(
    world: World, settings: Mapping[str, str]
) -> None:
    for name in settings.keys() & EXPECTED.keys():
        async with world.database.connection() as conn:
            row = await (await conn.execute(f"SHOW {name}".encode())).fetchone()
            assert row == (EXPECTED[name],)
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 1_000))
    await world.act(owner, world.withdraw(owner, 300))
    await assert_books_match(world)
    await world.finalizer().run_once()
    writer = SnapshotWriter(
        database=world.database,
        program=str(world.programs.vault),
        max_lag_slots=1_000,
        board=world.board,
    )
    await writer.run_once()
    await Retention(database=world.database).run_once()
    assert await world.problems() == []
    assert await world.history(owner) == [("deposit", 1_000, 1_000), ("withdraw", 300, 700)]


async def test_secrets_and_the_audit_trail_are_read_as_they_were_written(world: World) -> None:
    box = SecretBox([b"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTAxMjM="])
    details = {"text": "a\\b'c", "none": None}
    async with world.database.transaction() as conn:
        await second_factors.begin(
            conn, "alice", secret="A" * 32, hashes=[b"\\" * 32], secret_box=box
        )
        await audit_log.record(conn, actor="alice", action="test", owner=None, details=details)
    async with world.database.connection() as conn:
        found = await second_factors.lock(conn, "alice")
        assert found is not None
        assert found.secret(box) == "A" * 32
        assert await second_factors.recovery_code_used(conn, "alice", b"\\" * 32) is False
        verdict = await audit_verification.verify(conn)
        assert (verdict.entries, verdict.broken) == (1, None)


async def test_the_whole_service_works_with_every_setting_changed(
    empty_database_url: str, localnet: Localnet
) -> None:
    alter_database(empty_database_url, HOSTILE)
    async with whole_service(empty_database_url, **localnet.settings) as service:
        wallet = await funded(service)
        await land(service, wallet, await initialize(service, wallet))
        await land(service, wallet, await deposit(service, wallet, 5 * USDT))
        asked = await service.post(
            "/api/vault/withdraw", await signed(service, wallet, "withdraw", ("amount", USDT))
        )
        await land(service, wallet, asked)
        metrics = (await service.get("/metrics")).text
    restarts = [
        line for line in metrics.splitlines() if line.startswith("cvms_task_restarts_total{")
    ]
    assert [line for line in restarts if not line.endswith(" 0.0")] == []
