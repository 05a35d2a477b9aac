"""The composition root: everything is built here, handed on by name, started and stopped."""

from __future__ import annotations

import os
import platform
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import structlog
import trio

from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.yields.sources import parse_yield_sources
from cvms.config.settings import Config
from cvms.errors import ConfigurationError, only
from cvms.http import create_app, serve_http
from cvms.http.framework.edge import Edge
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import OperatorFunds, StatusBoard
from cvms.nursery.channels.task_liveness import seconds_expected
from cvms.nursery.supervision.leader_election import LeaderElection
from cvms.nursery.supervision.supervisor import supervise
from cvms.nursery.wiring.leader_tasks import leader_tasks
from cvms.nursery.wiring.replica_tasks import account_subscriptions, readiness_probe, replica_tasks
from cvms.nursery.wiring.resources import Resources, TaskFunction
from cvms.store.messaging.outbox_notifier import outbox_notifier
from cvms.store.postgres.database import Database, open_database
from cvms.store.redis.balance_cache import balance_cache
from cvms.store.redis.rate_limiter import limiter
from cvms.store.redis.redis_client import open_redis

log = structlog.get_logger(__name__)

Supervised = Callable[[str, TaskFunction], Awaitable[None]]


async def serve(
    config: Config,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    shutdown: trio.Event | None = None,
    listener: socket.socket | None = None,
    board: StatusBoard | None = None,
) -> None:
    """Run the whole service until SIGTERM, SIGINT, `shutdown` or a cancellation.

    Listens where the settings say, or on `listener`, which other processes may share. Reports its
    URL once it does; the database and the chain may come later, /ready and `board` say so.
    Ends in order within `config.shutdown_deadline` seconds, also when cancelled: the requests under
    way are answered, WebSockets are closed with 1001, then the tasks end. Raises ConfigurationError
    when it cannot listen, or when a task finds a setting that it cannot work with.
    """
    stop = shutdown if shutdown is not None else trio.Event()
    try:
        async with trio.open_nursery() as watch:
            watch.start_soon(_stop_on_signal, stop)
            watch.start_soon(_stop_when_cancelled, stop)
            with trio.CancelScope(shield=True) as orderly:
                await _serve(
                    config,
                    task_status=task_status,
                    stop=stop,
                    orderly=orderly,
                    listener=listener,
                    board=board or StatusBoard(),
                )
            watch.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise only(group) from None
    log.info("stopped", in_order=not orderly.cancelled_caught)


async def _serve(
    config: Config,
    *,
    task_status: trio.TaskStatus[str],
    stop: trio.Event,
    orderly: trio.CancelScope,
    listener: socket.socket | None,
    board: StatusBoard,
) -> None:
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        redis = await stack.enter_async_context(open_redis(config.redis_url))
        database = await stack.enter_async_context(open_database(config.database_url))
        resources = Resources(
            config=config,
            programs=config.programs,
            database=database,
            outbox_notifier=outbox_notifier(redis, database),
            rpc=await stack.enter_async_context(open_rpc(config.rpc_urls, metrics=metrics)),
            cache=balance_cache(redis, ttl=config.cache_ttl),
            metrics=metrics,
            limiter=limiter(redis, metrics=metrics),
            yield_sources=parse_yield_sources(config.yield_sources),
            board=board,
            operator_funds=OperatorFunds(config.sponsoring.operator_minimum),
        )
        if config.admin_jwt_secret is None:
            log.warning("administrators_routes_are_off", unset="ADMIN_JWT_SECRET")
        if not config.data_encryption_keys:
            log.warning("second_factors_are_off", unset="DATA_ENCRYPTION_KEYS")
        watched = partial(_supervised, resources)
        prepared = trio.Event()
        async with trio.open_nursery() as background:
            background.start_soon(watched, "health", readiness_probe(resources).run)
            background.start_soon(watched, "accounts", account_subscriptions(resources).run)
            schema = partial(_apply_schema, resources.database, prepared)
            background.start_soon(partial(watched, "schema", schema, finite=True))
            for name, run in (
                *replica_tasks(resources),
                ("leader", _leader_election(resources, watched).run),
            ):
                board.set_task_state(name, "starting")
                background.start_soon(_run_when_prepared, prepared, partial(watched, name, run))
            async with trio.open_nursery() as front:
                serve_app = partial(
                    serve_http, _app(resources), config=config, shutdown=stop, listener=listener
                )
                task_status.started(await _start_server(front, serve_app, config))
                await stop.wait()
                orderly.deadline = trio.current_time() + config.shutdown_deadline
            # Everything is answered and closed: what is left starts again from the database.
            background.cancel_scope.cancel()


async def _supervised(
    resources: Resources, name: str, run: TaskFunction, *, finite: bool = False
) -> None:
    await supervise(
        name,
        run,
        board=resources.board,
        metrics=resources.metrics,
        finite=finite,
        expected=None if finite else seconds_expected(name, resources.config),
    )


def _app(resources: Resources) -> Edge:
    return create_app(
        config=resources.config,
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        operator=resources.config.operator,
        hub=resources.hub,
        accounts=resources.accounts,
        submit_wake=resources.submit_wake,
        board=resources.board,
        cache=resources.cache,
        metrics=resources.metrics,
        limiter=resources.limiter,
        yield_sources=resources.yield_sources,
        operator_funds=resources.operator_funds,
    )


def _leader_election(resources: Resources, watched: Supervised) -> LeaderElection:
    return LeaderElection(
        database=resources.database,
        tasks=partial(_run_leader_tasks, resources, watched),
        name=f"{platform.node()}:{os.getpid()}",
        progress=resources.progress,
        board=resources.board,
        metrics=resources.metrics,
    )


async def _run_leader_tasks(resources: Resources, watched: Supervised) -> None:
    """What the leading replica runs, until it leads no more."""
    tasks = leader_tasks(resources)
    try:
        async with trio.open_nursery() as nursery:
            for name, run in tasks:
                nursery.start_soon(watched, name, run)
    finally:
        for name, _ in tasks:
            resources.board.set_task_state(name, "standby")


async def _apply_schema(database: Database, prepared: trio.Event) -> None:
    await database.prepare()
    prepared.set()


async def _run_when_prepared(prepared: trio.Event, run: TaskFunction) -> None:
    await prepared.wait()
    await run()


async def _start_server(
    front: trio.Nursery, serve_app: Callable[..., Awaitable[None]], config: Config
) -> str:
    try:
        url: str = await front.start(serve_app)
    except OSError as error:
        raise ConfigurationError(
            f"PORT holds {config.port} and HOST {config.host}, where it cannot listen "
            f"({error.strerror or error}); expected a free port of this machine"
        ) from error
    return url


async def _stop_on_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            stop.set()


async def _stop_when_cancelled(stop: trio.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        stop.set()
