"""Front end and broadcaster alone, for WebSocket benchmarks: no limits on clients."""

from __future__ import annotations

import logging
import sys

import structlog
import trio
from solders.keypair import Keypair

from bench.serve import NOWHERE
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.config.loader import load_programs
from cvms.config.settings import Config, Rates
from cvms.http import create_app, serve_http
from cvms.http.websocket.endpoint import WebSocketLimits
from cvms.metrics import Metrics
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, SubmitWakeup
from cvms.nursery.delivery.broadcaster import Broadcaster
from cvms.store.messaging.outbox_notifier import PostgresOutboxNotifier
from cvms.store.postgres.database import open_database
from cvms.store.redis.balance_cache import NoCache

SERVE = "from bench.serve_sockets import main; main()"


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    trio.run(serve, sys.argv[1])


async def serve(database_url: str) -> None:
    """Serve until standard input ends."""
    config = Config(
        operator=Keypair(),
        database_url=database_url,
        programs=load_programs({}),
        port=0,
        rpc_urls=(NOWHERE,),
        rates=Rates(address=None, sensitive=None, owner=None, everybody=None),
    )
    hub, board, shutdown = Hub(), StatusBoard(), trio.Event()
    async with (
        open_database(database_url) as database,
        open_rpc([NOWHERE]) as rpc,
        trio.open_nursery() as nursery,
    ):
        await database.prepare()
        app = create_app(
            config=config,
            database=database,
            rpc=rpc,
            programs=config.programs,
            operator=config.operator,
            hub=hub,
            submit_wake=SubmitWakeup(),
            board=board,
            cache=NoCache(),
            metrics=Metrics(),
            websocket_limits=WebSocketLimits(connections_per_ip=100_000),
        )
        broadcaster = Broadcaster(
            database=database,
            hub=hub,
            wake=OutboxWakeup(),
            notifier=PostgresOutboxNotifier(database),
            board=board,
        )
        nursery.start_soon(broadcaster.run)

        async def until_shut(task_status: trio.TaskStatus[str]) -> None:
            await serve_http(app, config=config, shutdown=shutdown, task_status=task_status)
            nursery.cancel_scope.cancel()

        url = await nursery.start(until_shut)
        print(url.rpartition(":")[2], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        shutdown.set()
