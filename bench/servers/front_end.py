"""Front end and broadcaster, for benchmarks: no limits, no chain, the port on standard output."""

from __future__ import annotations

import gc
import logging
import socket
import sys
from collections.abc import Callable
from functools import partial

import structlog
import trio
from solders.keypair import Keypair

from bench.servers.workers import serve_in_processes
from cvms.config.connection_settings import ListenSettings
from cvms.config.loader import load_programs
from cvms.config.settings import Config, Rates
from cvms.http import serve_http
from cvms.http.websocket.client_session import WebSocketLimits
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.wiring.front_end import build_front_end
from cvms.nursery.wiring.replica_tasks import build_broadcaster
from cvms.nursery.wiring.resources import open_resources

SERVE = "from bench.servers.front_end import main; main()"
NOWHERE = "http://127.0.0.1:1"


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    database_url, redis_url, workers = sys.argv[1:]
    serve_in_processes(partial(serve, database_url, redis_url), int(workers))


async def serve(
    database_url: str, redis_url: str, listener: socket.socket, accepting: Callable[[], None]
) -> None:
    """Serve until standard input ends."""
    config = Config(
        operators=(Keypair(),),
        database_url=database_url,
        redis_url=redis_url or None,
        programs=load_programs({}),
        port=0,
        listening=ListenSettings(per_address=100_000, connections=16_384),
        rpc_urls=(NOWHERE,),
        rates=Rates(address=None, sensitive=None, owner=None, everybody=None),
    )
    shutdown = trio.Event()
    async with (
        open_resources(config, board=StatusBoard(), metrics=Metrics()) as resources,
        trio.open_nursery() as nursery,
    ):
        await resources.database.prepare()
        limits = WebSocketLimits(connections_per_ip=100_000)
        app = build_front_end(resources, websocket_limits=limits)
        broadcaster = build_broadcaster(resources)
        await broadcaster.run_once()  # whoever subscribes before it is disconnected
        nursery.start_soon(broadcaster.run)

        async def until_shut(task_status: trio.TaskStatus[str]) -> None:
            await serve_http(
                app,
                config=config,
                shutdown=shutdown,
                listener=listener,
                task_status=task_status,
            )
            nursery.cancel_scope.cancel()

        await nursery.start(until_shut)
        gc.collect()
        gc.freeze()  # as the service does
        accepting()
        await trio.to_thread.run_sync(sys.stdin.read)
        shutdown.set()
