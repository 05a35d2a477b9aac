"""What two replicas depend on, each part behind a proxy, and the replicas themselves."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import trio

from cvms.localnet import Timing
from tests.harness.free_ports import free_port
from tests.harness.processes import Server, ServerForker
from tests.harness.tcp_proxy import TcpProxy, serve_proxy
from tests.harness.wall_clock import VARIABLE, WallClock
from tests.nursery.database_proxy import database_proxy
from tests.provider_proxy import Provider
from tests.redis_server import RedisServer
from tests.scenario.context import ScenarioContext, scenario_context

TIMING = Timing(slot_seconds=0.2, confirmed_lag=1, finalized_lag=8)
"""Half of a real slot: the lag that /ready tolerates is in slots."""
HEAD_END = b"\r\n\r\n"
ACCEPTED = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica, and the clock that it reads."""

    server: Server
    clock: WallClock


@dataclass(frozen=True, slots=True)
class Chaos:
    """Two replicas, and the proxies by the name of what is behind them."""

    context: ScenarioContext
    replicas: tuple[Replica, Replica]
    proxies: Mapping[str, tuple[TcpProxy, ...]]

    @property
    def providers(self) -> tuple[Provider, ...]:
        return self.context.providers


@asynccontextmanager
async def chaos(
    forker: ServerForker, folder: Path, database_url: str, redis: RedisServer
) -> AsyncIterator[Chaos]:
    """Start everything but the replicas, which are prepared."""
    async with (
        scenario_context(forker, folder, database_url, timing=TIMING, providers=True) as context,
        database_proxy(database_url) as database,
        trio.open_nursery() as nursery,
    ):
        open_redis = partial(trio.open_unix_socket, redis.url.removeprefix("unix://"))
        cache = await nursery.start(serve_proxy, open_redis)
        rpc = [await nursery.start(serve_proxy, _to(each.url)) for each in context.providers]
        pubsub = [await nursery.start(serve_proxy, _to(each.ws_url)) for each in context.providers]
        hooks = await nursery.start(serve_proxy, _to(await nursery.start(_serve_webhook)))
        environ = {
            **context.server.environ,
            "DATABASE_URL": database.uri,
            "REDIS_URL": f"redis://127.0.0.1:{cache.port}",
            "SOLANA_RPC_URL": ",".join(f"http://127.0.0.1:{each.port}" for each in rpc),
            "SOLANA_WS_URL": ",".join(f"ws://127.0.0.1:{each.port}" for each in pubsub),
            "ALERT_WEBHOOK_URL": f"http://127.0.0.1:{hooks.port}/alerts",
            "ALERT_WEBHOOK_SECRET": "whsec_" + base64.b64encode(bytes(range(24))).decode(),
            "WEBHOOK_PRIVATE_ADDRESSES": "on",
            "NONCE_TTL_SECONDS": "3600",
        }
        proxies = {
            "postgres": (database.tcp,),
            "redis": (cache,),
            "rpc": tuple(rpc),
            "pubsub": tuple(pubsub),
            "webhooks": (hooks,),
        }
        async with (
            _replica(forker, folder / "one", environ) as first,
            _replica(forker, folder / "two", environ) as second,
        ):
            context.server = first.server
            yield Chaos(context, (first, second), proxies)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _replica(
    forker: ServerForker, folder: Path, environ: Mapping[str, str]
) -> AsyncIterator[Replica]:
    os.mkdir(folder)
    clock = WallClock(folder / "clock")
    own = {"PORT": str(free_port()), VARIABLE: str(clock.path)}
    server = Server(forker, folder, {**environ, **own})
    try:
        yield Replica(server, clock)
    finally:
        await server.close()


def _to(url: str) -> Callable[[], Awaitable[trio.SocketStream]]:
    port = urlsplit(url).port
    assert port is not None
    return partial(trio.open_tcp_stream, "127.0.0.1", port)


async def _serve_webhook(task_status: trio.TaskStatus[str]) -> None:
    """Serve a webhook that accepts every message; report its URL."""

    async def accept(stream: trio.SocketStream) -> None:
        received = b""
        try:
            while HEAD_END not in received and (data := await stream.receive_some(2**16)):
                received += data
            await stream.send_all(ACCEPTED)
        except trio.BrokenResourceError:
            pass  # the proxy has cut the connection

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, accept, 0, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        task_status.started(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
