"""The front end on real sockets and a real database."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
import trio
import trio_websocket
from solders.keypair import Keypair

from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import Programs
from cvms.chain.yields.sources import parse_yield_sources
from cvms.config.loader import load_programs
from cvms.config.settings import Config, Rates
from cvms.dev.chain_setup import local_yield_sources
from cvms.http import create_app, serve_http
from cvms.http.framework.edge import MAX_IN_FLIGHT, Edge
from cvms.http.websocket.client_session import WebSocketLimits
from cvms.metrics import Metrics
from cvms.nursery.channels.account_registry import AccountRegistry
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.status_board import OperatorFunds, StatusBoard
from cvms.nursery.channels.wakeups import SubmitWakeup
from cvms.nursery.run import serve
from cvms.store.messaging import outbox
from cvms.store.postgres.database import Database, open_database
from cvms.store.redis.balance_cache import balance_cache
from cvms.store.redis.rate_limiter import limiter
from cvms.store.redis.redis_client import open_redis
from tests.conftest import Localnet

NOWHERE = "http://127.0.0.1:1"  # nothing listens on port 1: refused at once
UNLIMITED = Rates(address=None, sensitive=None, owner=None, everybody=None)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running service as its clients see it, and what is behind it."""

    url: str
    http: httpx.AsyncClient
    config: Config
    database: Database
    rpc: RpcClient

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Served):
    """The front end alone, with its insides at hand."""

    app: Edge
    hub: Hub
    accounts: AccountRegistry
    board: StatusBoard
    submit_wake: SubmitWakeup
    shutdown: trio.Event
    stopped: trio.Event

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
    rpc_url: str = NOWHERE,
    programs: Programs | None = None,
    operator: Keypair | None = None,
    limits: WebSocketLimits | None = None,
    max_in_flight: int = MAX_IN_FLIGHT,
    nonce_ttl: float = 300.0,
    redis_url: str | None = None,
    funds: OperatorFunds | None = None,
    wall_clock: Callable[[], float] = time.time,
    **settings: Any,
) -> AsyncIterator[Service]:
    """The front end with everything it depends on, stopped in order at the end of the block."""
    operator = operator or Keypair()
    programs = programs or load_programs({})
    config = Config(
        operator=operator,
        database_url=database_url,
        programs=programs,
        port=0,
        rpc_urls=(rpc_url,),
        nonce_ttl=nonce_ttl,
        **({"rates": UNLIMITED} | settings),
    )
    accounts = AccountRegistry()
    hub, board, wake, shutdown, stopped = (
        Hub(),
        StatusBoard(),
        SubmitWakeup(),
        trio.Event(),
        trio.Event(),
    )
    metrics = Metrics()
    async with (
        open_database(database_url) as database,
        open_rpc([rpc_url]) as rpc,
        open_redis(redis_url) as redis,
        httpx.AsyncClient(timeout=30) as http,
        trio.open_nursery() as nursery,
    ):
        await database.prepare()
        app = create_app(
            config=config,
            database=database,
            rpc=rpc,
            programs=programs,
            operator=operator,
            hub=hub,
            accounts=accounts,
            submit_wake=wake,
            board=board,
            cache=balance_cache(redis, ttl=5.0),
            metrics=metrics,
            limiter=limiter(redis, metrics=metrics),
            yield_sources=parse_yield_sources(config.yield_sources),
            websocket_limits=limits,
            max_in_flight=max_in_flight,
            operator_funds=funds,
            wall_clock=wall_clock,
        )

        async def until_stopped(task_status: trio.TaskStatus[str]) -> None:
            await serve_http(app, config=config, shutdown=shutdown, task_status=task_status)
            stopped.set()

        url = await nursery.start(until_stopped)
        yield Service(
            url=url,
            http=http,
            app=app,
            config=config,
            database=database,
            rpc=rpc,
            hub=hub,
            accounts=accounts,
            board=board,
            submit_wake=wake,
            shutdown=shutdown,
            stopped=stopped,
        )
        shutdown.set()
        with trio.fail_after(config.shutdown_deadline + 1):
            await stopped.wait()


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    """The front end with a database and without a chain."""
    async with running(database_url) as service:
        yield service


@pytest.fixture
async def system(database_url: str, localnet: Localnet) -> AsyncIterator[Served]:
    """The whole service, every task included, on a real chain."""
    config = Config(
        operator=localnet.operator,
        database_url=database_url,
        programs=localnet.programs,
        port=0,
        rpc_urls=(localnet.rpc_url,),
        ws_urls=(localnet.ws_url,),
        yield_sources=local_yield_sources(localnet.programs, localnet.operator.pubkey()),
        rates=UNLIMITED,
    )
    shutdown = trio.Event()
    async with (
        open_database(database_url) as database,
        open_rpc([localnet.rpc_url]) as rpc,
        httpx.AsyncClient(timeout=30) as http,
        trio.open_nursery() as nursery,
    ):
        await database.prepare()
        url = await nursery.start(partial(serve, config, shutdown=shutdown))
        served = Served(url=url, http=http, config=config, database=database, rpc=rpc)
        with trio.fail_after(10):
            while (await served.get("/ready")).status_code != 200:  # noqa: ASYNC110
                await trio.sleep(0.02)
        yield served
        shutdown.set()


@pytest.fixture
async def front(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """The front end alone, on a real chain: what it writes down stays as it wrote it."""
    async with running(
        database_url,
        rpc_url=localnet.rpc_url,
        programs=localnet.programs,
        operator=localnet.operator,
        yield_sources=local_yield_sources(localnet.programs, localnet.operator.pubkey()),
    ) as service:
        yield service


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
