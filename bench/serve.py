"""Front end alone, for benchmarks: no limits, no chain, its port on standard output."""

from __future__ import annotations

import logging
import sys

import structlog
import trio
from solders.keypair import Keypair

from cvms.chain.rpc.rpc_client import open_rpc
from cvms.config.loader import load_programs
from cvms.config.settings import Config, Rates
from cvms.http import create_app, serve_http
from cvms.metrics import Metrics
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import SubmitWakeup
from cvms.store.postgres.database import open_database
from cvms.store.redis.balance_cache import balance_cache
from cvms.store.redis.redis_client import open_redis

SERVE = "from bench.serve import main; main()"
NOWHERE = "http://127.0.0.1:1"


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    trio.run(serve, sys.argv[1], sys.argv[2])


async def serve(database_url: str, redis_url: str) -> None:
    """Serve until standard input ends."""
    programs, operator, metrics, shutdown = load_programs({}), Keypair(), Metrics(), trio.Event()
    config = Config(
        operator=operator,
        database_url=database_url,
        programs=programs,
        port=0,
        rpc_urls=(NOWHERE,),
        rates=Rates(address=None, sensitive=None, owner=None, everybody=None),
    )
    async with (
        open_database(database_url) as database,
        open_rpc([NOWHERE]) as rpc,
        open_redis(redis_url or None) as redis,
        trio.open_nursery() as nursery,
    ):
        await database.prepare()
        app = create_app(
            config=config,
            database=database,
            rpc=rpc,
            programs=programs,
            operator=operator,
            hub=Hub(),
            submit_wake=SubmitWakeup(),
            board=StatusBoard(),
            cache=balance_cache(redis, ttl=config.cache_ttl),
            metrics=metrics,
        )

        async def until_shut(task_status: trio.TaskStatus[str]) -> None:
            await serve_http(app, config=config, shutdown=shutdown, task_status=task_status)

        url = await nursery.start(until_shut)
        print(url.rpartition(":")[2], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        shutdown.set()
