"""Notifications arrive in order, and their loss is never silent."""

from __future__ import annotations

import pytest
import trio

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.listen import listen
from tests.store.own_server import OwnServer, execute


async def notify(database: Database, channel: str, *payloads: str) -> None:
    async with database.transaction() as conn:
        for payload in payloads:
            await conn.execute("SELECT pg_notify(%s, %s)", [channel, payload])


async def test_notifications_arrive_in_the_order_of_commits(database: Database) -> None:
    async with listen(database, "news", "other") as listener:
        await notify(database, "news", "1", "2")
        await notify(database, "other", "3")
        with trio.fail_after(5):
            heard = [await listener.receive() for _ in range(3)]
    assert [(one.channel, one.payload) for one in heard] == [
        ("news", "1"),
        ("news", "2"),
        ("other", "3"),
    ]


async def test_a_rolled_back_notification_is_not_received(database: Database) -> None:
    async with listen(database, "news") as listener:
        with trio.CancelScope() as scope:
            async with database.transaction() as conn:
                await conn.execute("SELECT pg_notify('news', 'never')")
                scope.cancel()
        await notify(database, "news", "once")
        with trio.fail_after(5):
            assert (await listener.receive()).payload == "once"


async def test_a_cancelled_receive_loses_nothing(database: Database) -> None:
    async with listen(database, "news") as listener:
        for n in range(50):
            with trio.move_on_after(0):
                await listener.receive()
                raise AssertionError("nothing was sent yet")
            await notify(database, "news", str(n))
            with trio.fail_after(5):
                assert (await listener.receive()).payload == str(n)


async def test_a_burst_during_the_silence_check_is_received(database: Database) -> None:
    async with listen(database, "news", silence=0.01) as listener, trio.open_nursery() as nursery:

        async def send() -> None:
            for n in range(100):
                await notify(database, "news", str(n))

        nursery.start_soon(send)
        with trio.fail_after(10):
            assert [(await listener.receive()).payload for _ in range(100)] == [
                str(n) for n in range(100)
            ]


async def test_losing_the_session_is_raised(database: Database, database_url: str) -> None:
    async with listen(database, "news") as listener:
        execute(
            database_url,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%'",
        )
        with trio.fail_after(5), pytest.raises(DatabaseUnavailable, match="LISTEN was lost"):
            await listener.receive()


async def test_a_server_that_falls_silent_is_detected(own_server: OwnServer) -> None:
    async with (
        open_database(own_server.uri(), query_timeout=0.5) as database,
        listen(database, "news", silence=0.2) as listener,
    ):
        own_server.freeze()
        with trio.fail_after(5), pytest.raises(DatabaseUnavailable):
            await listener.receive()


async def test_a_closed_listener_ends_the_wait(database: Database) -> None:
    async with listen(database, "news") as listener:
        await listener.aclose()
        with trio.fail_after(5), pytest.raises(DatabaseUnavailable):
            await listener.receive()
