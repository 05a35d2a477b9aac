"""A database on another server, or under another number, continues where no client has been."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import trio
from cryptography.fernet import Fernet

from cvms.cli import main
from cvms.errors import NonceUsed
from cvms.store.messaging import outbox, restored
from cvms.store.messaging.topics import Topic
from cvms.store.messaging.webhooks import endpoints
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_value
from cvms.store.security import nonces, second_factors
from cvms.store.security.encryption import SecretBox
from cvms.store.security.nonces import NewNonce
from tests.harness.postgres_pair import postgres_pair
from tests.postgres_server import new_database
from tests.store.examples import message
from tests.store.own_server import server_binaries

BOX = SecretBox([Fernet.generate_key()])
NOW = "SELECT floor(extract(EPOCH FROM clock_timestamp()) / 30)::BIGINT"


async def fill(conn: Connection) -> None:
    """Store what was told and what was given out, and an endpoint that lacks one message."""
    common: dict[str, Any] = {
        "url": "https://a.example/",
        "topics": [Topic.DEPOSIT],
        "created_by": "x",
    }
    await outbox.append(conn, [message(topic=Topic.DEPOSIT)])
    await endpoints.add(conn, owner="behind", **common)
    await outbox.append(conn, [message(topic=Topic.DEPOSIT)])
    await endpoints.add(conn, owner="up to date", **common)
    await nonces.issue(conn, [NewNonce("alice", "nonce", timedelta(minutes=5))])
    await second_factors.begin(conn, "alice", secret="A", hashes=[], secret_box=BOX)
    await second_factors.enable(conn, "alice", 100)


@pytest.fixture
async def copied(database: Database, postgres_server: str) -> AsyncIterator[Database]:
    """A copy of a database that a service has used, as a dump that was read into another one."""
    async with database.dedicated() as conn:
        await fill(conn)
        assert not await restored.notice(conn)
        assert not await restored.notice(conn)
        assert await outbox.head(conn) == 2
        name = conn.info.dbname
    database.close()
    with new_database(postgres_server, name) as uri:
        async with open_database(uri) as copy:
            await copy.prepare()
            yield copy


async def test_numbers_go_on_beyond_those_that_were_given_out(copied: Database) -> None:
    async with copied.transaction() as conn:
        assert await restored.notice(conn)
    async with copied.transaction() as conn:
        assert not await restored.notice(conn)
        assert await outbox.head(conn) == 2 + restored.SKIPPED
        assert await outbox.topic_head(conn, Topic.DEPOSIT) == 2 + restored.SKIPPED
        # Of this topic, the first message may have followed the backup.
        assert await outbox.topic_head(conn, Topic.ALERT) == restored.SKIPPED
        await outbox.append(conn, [message(topic=Topic.DEPOSIT)])
        [row] = await outbox.after(conn, 2)
        assert row.position == row.seq == 3 + restored.SKIPPED


async def test_an_endpoint_gets_what_it_lacks_and_waits_for_nothing_that_was_left_out(
    copied: Database,
) -> None:
    async with copied.transaction() as conn:
        await restored.notice(conn)
        cursor = await conn.execute("SELECT owner, position FROM webhook_endpoints")
        positions: dict[str, int] = dict(await cursor.fetchall())
        assert positions == {"behind": 1, "up to date": 2 + restored.SKIPPED}


async def test_what_takes_effect_once_counts_as_used(copied: Database) -> None:
    async with copied.transaction() as conn:
        await restored.notice(conn)
        with pytest.raises(NonceUsed):
            await nonces.consume(conn, "alice", "nonce")
        factor = await second_factors.lock(conn, "alice")
        now = await fetch_value(conn, NOW)
        assert factor is not None
        used = [factor.step_used(step, newest=now + 1) for step in range(now - 200, now + 3)]
        assert used == [True] * 202 + [False]


async def test_a_command_says_so_of_a_database_that_replaces_a_lost_one(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)

    assert await trio.to_thread.run_sync(main, ["restored"]) == 0
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT position FROM outbox_head").fetchone() == (restored.SKIPPED,)
        assert conn.execute("SELECT actor FROM audit_logs").fetchone() == ("cvms restored",)
    async with open_database(database_url) as database, database.dedicated() as conn_of_service:
        assert not await restored.notice(conn_of_service)


async def test_a_dump_that_makes_the_tables_of_the_same_database_anew_is_noticed(
    database: Database, database_url: str
) -> None:
    async with database.transaction() as conn:
        await fill(conn)
        assert not await restored.notice(conn)
    database.close()
    programs = server_binaries()[0]
    dump = [str(programs / "pg_dump"), "--clean", database_url]
    psql = [str(programs / "psql"), "--quiet", "--set", "ON_ERROR_STOP=1", database_url]
    dumped = await trio.run_process(dump, capture_stdout=True)
    await trio.run_process(psql, stdin=dumped.stdout, capture_stdout=True)
    for noticed in (True, False):
        async with open_database(database_url) as again:
            await again.prepare()
            async with again.transaction() as conn:
                assert await restored.notice(conn) is noticed


@pytest.mark.slow(seconds=5)
async def test_a_promoted_standby_is_noticed() -> None:
    with postgres_pair() as pair:
        async with open_database(pair.primary.uri()) as database:
            await database.prepare()
            async with database.transaction() as conn:
                assert not await restored.notice(conn)
        pair.primary.stop()
        pair.standby.promote()
        async with open_database(pair.standby.uri()) as database:
            await database.prepare()
            async with database.transaction() as conn:
                assert await restored.notice(conn)
