"""Front end alone, for benchmarks: no limits, no chain, its port on standard output."""

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
from cvms.config.loader import load_programs
from cvms.config.settings import Config, Rates
from cvms.http import serve_http
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.wiring.front_end import build_front_end
from cvms.nursery.wiring.resources import open_resources

SERVE = "from bench.servers.front_end import main; main()"
NOWHERE = "http://127.0.0.1:1"


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    workers = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    serve_in_processes(partial(serve, sys.argv[1], sys.argv[2]), workers)


async def serve(
    database_url: str, redis_url: str, listener: socket.socket, accepting: Callable[[], None]
) -> None:
    """Serve until standard input ends."""
    config = Config(
        operator=Keypair(),
        database_url=database_url,
        redis_url=redis_url or None,
        programs=load_programs({}),
        port=0,
        rpc_urls=(NOWHERE,),
        rates=Rates(address=None, sensitive=None, owner=None, everybody=None),
    )
    shutdown = trio.Event()
    async with (
        open_resources(config, board=StatusBoard()) as resources,
        trio.open_nursery() as nursery,
    ):
        await resources.database.prepare()
        app = build_front_end(resources)

        async def until_shut(task_status: trio.TaskStatus[str]) -> None:
            await serve_http(
                app,
                config=config,
                shutdown=shutdown,
                listener=listener,
                task_status=task_status,
            )

        await nursery.start(until_shut)
        gc.collect()
        gc.freeze()  # as the service does
        accepting()
        await trio.to_thread.run_sync(sys.stdin.read)
        shutdown.set()
