"""The whole service: it starts with or without its dependencies and ends in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest
import trio
import trio_websocket

from cvms.config.settings import Config
from cvms.errors import ConfigurationError
from cvms.http.framework.admin_tokens import Role, mint
from cvms.nursery.run import serve
from tests.nursery.world import World, until

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"  # nothing listens on port 1

# Those that work every ten seconds at least.
OFTEN = ("health", "indexer", "broadcaster", "submitter", "settler", "webhooks", "monitor")


def configuration(world: World, database_url: str, **changes: Any) -> Config:
    settings: dict[str, Any] = {
        "operator": world.operator,
        "database_url": database_url,
        "programs": world.programs,
        "port": 0,
        "rpc_urls": (world.chain.rpc_url,),
        "ws_urls": (world.chain.ws_url,),
    }
    return Config(**(settings | changes))


async def parts(url: str) -> tuple[int, Any]:
    async with httpx.AsyncClient() as http:
        reply = await http.get(f"{url}/ready")
    return reply.status_code, reply.json()["parts"]


async def until_ready(url: str) -> None:
    async def ready() -> bool:
        return (await parts(url))[0] == 200

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


async def test_without_a_database_it_starts_and_says_what_is_missing(world: World) -> None:
    config = configuration(world, NOWHERE)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve, config))

        async def known() -> bool:
            status, now = await parts(url)
            assert status == 503
            return bool(now["rpc"]["ok"])

        await until(known)
        _, now = await parts(url)
        assert not now["database"]["ok"]
        assert not now["indexer"]["ok"]
        nursery.cancel_scope.cancel()


async def test_a_port_that_is_taken_is_one_error_that_names_it(
    world: World, database_url: str
) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        with trio.fail_after(5), pytest.raises(ConfigurationError, match=f"PORT holds {port}"):
            await serve(configuration(world, database_url, port=port))


async def test_every_task_waits_out_a_database_that_goes_away(
    world: World, database_url: str, postgres_server: str
) -> None:
    """Each goes on by itself, none takes the outage for a failure of its own."""
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

        async def away() -> bool:
            return (await parts(url))[0] == 503

        async def at_work() -> bool:
            found = await tasks()
            return all(found[each]["last_success"] > back for each in OFTEN)

        await until_ready(url)
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            await until(away)
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
        await until_ready(url)
        back = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        await until(at_work, seconds=20)
        found = await tasks()
        assert {each["state"] for each in found.values()} == {"running", "finished"}
        assert [each for each in found.values() if each["trouble"]] == []
        errors = [each["last_error"] for each in found.values() if each["last_error"]]
        assert errors
        assert all(each.startswith("DatabaseUnavailable") for each in errors), errors
        shutdown.set()
