"""A running service: the front end alone, or all of it, on real sockets and a real database."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import trio
import trio_websocket
from solders.keypair import Keypair

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.config.settings import Config
from cvms.http import serve_http
from cvms.http.framework.edge import MAX_IN_FLIGHT, Edge
from cvms.http.websocket.client_session import WebSocketLimits
from cvms.log.configuration import ProcessLog
from cvms.nursery.channels.account_registry import AccountRegistry
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import SubmitWakeup
from cvms.nursery.run import serve
from cvms.nursery.wiring.front_end import build_front_end
from cvms.nursery.wiring.resources import Resources
from cvms.store.messaging import outbox
from cvms.store.postgres.database import Database
from tests.harness.resources import config_for_tests, keypair_of, open_prepared_resources

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running service as its clients see it, and the database and chain behind it."""

    url: str
    http: httpx.AsyncClient
    resources: Resources

    async def get(self, path: str) -> httpx.Response:
        return await self.http.get(self.url + path)

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.http.post(self.url + path, json=body)

    async def nonce(self, owner: Keypair) -> str:
        reply = await self.post("/api/auth/nonce", {"owner": str(owner.pubkey())})
        assert reply.status_code == 200, reply.text
        nonce: str = reply.json()["nonce"]
        return nonce

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def config(self) -> Config:
        return self.resources.config

    @property
    def operator(self) -> Keypair:
        return keypair_of(self.config)

    @property
    def database(self) -> Database:
        return self.resources.database

    @property
    def rpc(self) -> RpcClient:
        return self.resources.rpc


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Served):
    """The front end alone, with its insides at hand."""

    app: Edge
    shutdown: trio.Event
    stopped: trio.Event

    @property
    def hub(self) -> Hub:
        return self.resources.hub

    @property
    def accounts(self) -> AccountRegistry:
        return self.resources.accounts

    @property
    def board(self) -> StatusBoard:
        return self.resources.board

    @property
    def submit_wake(self) -> SubmitWakeup:
        return self.resources.submit_wake

    async def publish(self, *messages: outbox.OutboxMessage) -> None:
        """Commit messages and hand them to the hub, as indexer and broadcaster do."""
        async with self.database.transaction() as conn:
            last = await outbox.append(conn, messages)
        async with self.database.connection() as conn:
            self.hub.publish(await outbox.after(conn, last - len(messages)))


@asynccontextmanager
async def running(
    database_url: str,
    *,
    limits: WebSocketLimits | None = None,
    max_in_flight: int = MAX_IN_FLIGHT,
    wall_clock: Callable[[], float] = time.time,
    process_log: ProcessLog | None = None,
    **settings: Any,
) -> AsyncIterator[Service]:
    """Run the front end and no task, stopped in order at the end of the block."""
    config = config_for_tests(database_url, **settings)
    shutdown, stopped = trio.Event(), trio.Event()
    async with (
        open_prepared_resources(config, process_log) as resources,
        httpx.AsyncClient(timeout=30) as http,
        trio.open_nursery() as nursery,
    ):
        app = build_front_end(
            resources, websocket_limits=limits, max_in_flight=max_in_flight, wall_clock=wall_clock
        )

        async def until_stopped(task_status: trio.TaskStatus[str]) -> None:
            await serve_http(app, config=config, shutdown=shutdown, task_status=task_status)
            stopped.set()

        url = await nursery.start(until_stopped)
        yield Service(
            url=url, http=http, resources=resources, app=app, shutdown=shutdown, stopped=stopped
        )
        shutdown.set()
        with trio.fail_after(config.shutdown_deadline + 1):
            await stopped.wait()


@asynccontextmanager
async def whole_service(database_url: str, **settings: Any) -> AsyncIterator[Served]:
    """Run the service with every task, until it is ready and then for the block.

    Its resources are the test's own: the service opens others.
    """
    config = config_for_tests(database_url, **settings)
    shutdown = trio.Event()
    async with (
        open_prepared_resources(config) as resources,
        httpx.AsyncClient(timeout=30) as http,
        trio.open_nursery() as nursery,
    ):
        url = await nursery.start(partial(serve, config, shutdown=shutdown))
        served = Served(url=url, http=http, resources=resources)
        with trio.fail_after(10):
            while (await served.get("/ready")).status_code != 200:  # noqa: ASYNC110
                await trio.sleep(0.02)
        yield served
        shutdown.set()


async def frame(socket: trio_websocket.WebSocketConnection) -> Json:
    """The next frame, within a deadline."""
    with trio.fail_after(10):
        message: Json = json.loads(await socket.get_message())
    return message


async def handshake(
    service: Service, path: str, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """The plain HTTP answer to a handshake that is refused."""
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    return await service.http.get(service.url + path, headers=asked | dict(headers or {}))


async def subscribe(socket: trio_websocket.WebSocketConnection, topic: str, **fields: Any) -> Json:
    """Subscribe and return the next frame that is not an event."""
    await socket.send_message(json.dumps({"op": "subscribe", "topic": topic, **fields}))
    while (reply := await frame(socket))["type"] == "event":
        pass
    return reply


def event(
    topic: str, number: int, owner: str | None = None, *, padding: int = 0
) -> outbox.OutboxMessage:
    return outbox.OutboxMessage(
        topic=topic,
        owner=owner,
        slot=number,
        signature=None,
        commitment="confirmed",
        data={"number": number, "owner": owner, "padding": " " * padding},
    )
