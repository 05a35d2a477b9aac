"""The whole service: starts with or without its dependencies, and shuts down in order."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest
import trio
import trio.testing
import trio_websocket
from structlog.testing import capture_logs

from cvms.config.settings import Config
from cvms.errors import ConfigurationError
from cvms.http.framework.admin_tokens import Role, mint
from cvms.nursery import run
from cvms.nursery.run import serve, serve_process
from cvms.store.postgres.migrate import SCHEMA_LOCK
from tests.harness.resources import config_for_tests
from tests.nursery.world import World, until

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"  # nothing listens on port 1

# Tasks that succeed at least every ten seconds.
FREQUENT = ("health", "indexer", "broadcaster", "submitter", "settler", "webhooks", "monitor")


def configuration(world: World, database_url: str, **changes: Any) -> Config:
    return replace(world.resources.config, database_url=database_url, **changes)


async def components(url: str) -> tuple[int, Any]:
    async with httpx.AsyncClient() as http:
        reply = await http.get(f"{url}/ready")
    return reply.status_code, reply.json()["parts"]


async def until_ready(url: str) -> None:
    async def ready() -> bool:
        return (await components(url))[0] == 200

    await until(ready)


@pytest.mark.parametrize("ending", ["event", "signal", "cancellation"])
async def test_it_ends_in_order_and_in_time(world: World, database_url: str, ending: str) -> None:
    shutdown, ended, scope = trio.Event(), trio.Event(), trio.CancelScope()
    config = configuration(world, database_url)
    endings: dict[str, Callable[[], None]] = {
        "event": shutdown.set,
        "signal": lambda: os.kill(os.getpid(), signal.SIGTERM),
        "cancellation": scope.cancel,
    }

    async def run(task_status: trio.TaskStatus[str]) -> None:
        with scope:
            await serve(config, task_status=task_status, shutdown=shutdown)
        ended.set()

    async with trio.open_nursery() as nursery:
        url = await nursery.start(run)
        await until_ready(url)
        port = int(url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            socket = await trio_websocket.wrap_client_stream(nursery, stream, "cvms", "/ws")
            await socket.get_message()
            with trio.fail_after(config.shutdown_deadline):
                endings[ending]()
                with pytest.raises(trio_websocket.ConnectionClosed) as closed:
                    await socket.get_message()
                await ended.wait()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1001
        assert scope.cancelled_caught == (ending == "cancellation")


async def test_sighup_is_ignored_in_one_line_that_says_what_to_do(
    world: World, database_url: str
) -> None:
    shutdown = trio.Event()
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            config = configuration(world, database_url)
            url = await nursery.start(partial(serve, config, shutdown=shutdown))
            os.kill(os.getpid(), signal.SIGHUP)
            await until_ready(url)
            shutdown.set()
    [line] = [line for line in logs if line.get("signal") == "SIGHUP"]
    assert (line["event"], line["log_level"]) == ("signal_ignored", "warning")
    assert "restart" in line["instead"]


async def test_the_collector_leaves_alone_what_was_built_at_the_start(
    world: World, database_url: str
) -> None:
    shutdown = trio.Event()
    config = configuration(world, database_url)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_process, config, shutdown=shutdown))
            left = len(gc.get_objects())
            assert gc.get_freeze_count() > 10 * left
            shutdown.set()
    finally:
        gc.unfreeze()


async def test_without_a_database_it_starts_and_names_what_is_missing(world: World) -> None:
    config = configuration(world, NOWHERE)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve, config))

        async def known() -> bool:
            status, now = await components(url)
            assert status == 503
            return bool(now["rpc"]["ok"])

        await until(known)
        _, now = await components(url)
        assert not now["database"]["ok"]
        assert not now["indexer"]["ok"]
        nursery.cancel_scope.cancel()


async def test_a_port_that_is_in_use_is_one_error_that_names_it(
    world: World, database_url: str
) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        with trio.fail_after(5), pytest.raises(ConfigurationError, match=f"PORT holds {port}"):
            await serve(configuration(world, database_url, port=port))


async def test_every_task_survives_a_database_outage(
    world: World, database_url: str, postgres_server: str
) -> None:
    """Each resumes by itself, and none counts the outage as its own failure."""
    config = configuration(world, database_url, admin_jwt_secret=b"s" * 32)
    name = database_url.partition("?")[0].rpartition("/")[2]
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery, httpx.AsyncClient(timeout=10) as http:
        url = await nursery.start(partial(serve, config, shutdown=shutdown))
        bearer = mint(config.admin_jwt_secret or b"", subject="t", role=Role.VIEWER, seconds=600)

        async def tasks() -> dict[str, Any]:
            headers = {"Authorization": f"Bearer {bearer}"}
            reply = await http.get(f"{url}/api/admin/tasks", headers=headers)
            found: dict[str, Any] = reply.json()["tasks"]
            return found

        async def unavailable() -> bool:
            return (await components(url))[0] == 503

        async def all_succeeded() -> bool:
            found = await tasks()
            return all(found[each]["last_success"] > recovered_at for each in FREQUENT)

        await until_ready(url)
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            await until(unavailable)
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
        await until_ready(url)
        recovered_at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        await until(all_succeeded, seconds=20)
        found = await tasks()
        assert {each["state"] for each in found.values()} == {"running", "finished"}
        assert [each for each in found.values() if each["trouble"]] == []
        errors = [each["last_error"] for each in found.values() if each["last_error"]]
        assert errors
        assert all(each.startswith("DatabaseUnavailable") for each in errors), errors
        shutdown.set()


# --- a worker, whose listener other processes share ----------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


async def test_a_worker_accepts_no_connection_before_the_schema_is_applied(
    database_url: str, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker would answer what this one had to refuse."""
    monkeypatch.setattr(run, "SCHEMA_SECONDS", 60.0)
    shutdown, replies = trio.Event(), list[int]()

    async def ask() -> None:
        async with httpx.AsyncClient(timeout=60) as http:
            port = listener.getsockname()[1]
            replies.append((await http.get(f"http://127.0.0.1:{port}/health")).status_code)

    async with trio.open_nursery() as nursery:
        with psycopg.connect(database_url, autocommit=True) as other_process:
            other_process.execute("SELECT pg_advisory_lock(%s)", [SCHEMA_LOCK])
            config = config_for_tests(database_url)
            nursery.start_soon(partial(serve, config, listener=listener, shutdown=shutdown))
            nursery.start_soon(ask)
            await until(partial(_waits_for_lock, other_process))
            await trio.testing.wait_all_tasks_blocked()
            assert replies == []
        with trio.fail_after(30):
            while not replies:  # noqa: ASYNC110
                await trio.sleep(0.005)
        shutdown.set()
    assert replies == [200]


async def _waits_for_lock(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    ).fetchone()
    return row == (1,)


async def test_a_worker_without_a_database_accepts_connections_all_the_same(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SCHEMA_SECONDS", 0.05)
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        task = partial(serve, config_for_tests(NOWHERE), listener=listener, shutdown=shutdown)
        with trio.fail_after(30):
            url = await nursery.start(task)
        assert (await components(url))[0] == 503
        shutdown.set()
