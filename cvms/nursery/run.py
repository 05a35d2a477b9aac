"""The composition root: everything is built here, handed on by name, started and stopped."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import httpx
import structlog
import trio

from cvms.chain.protocols.sources import YieldSource, parse_yield_sources
from cvms.chain.rpc import Rpc, open_rpc
from cvms.chain.types import Programs
from cvms.config import Config
from cvms.errors import ConfigurationError, only
from cvms.http import create_app, serve_http
from cvms.http.edge import Edge
from cvms.metrics import Metrics
from cvms.nursery.balances import Balances
from cvms.nursery.broadcaster import Broadcaster
from cvms.nursery.channels import (
    Board,
    Hub,
    OperatorFunds,
    OutboxWake,
    Reconciliations,
    SubmitWake,
    TvlWake,
)
from cvms.nursery.health import Health
from cvms.nursery.indexer import Indexer, Progress
from cvms.nursery.operator_balance import OperatorBalance
from cvms.nursery.reconciler import Reconciler
from cvms.nursery.retention import Retention
from cvms.nursery.second_look import SecondLook
from cvms.nursery.settler import Settler
from cvms.nursery.submitter import Submitter
from cvms.nursery.supervision import supervise
from cvms.nursery.webhooks import Webhooks
from cvms.store.cache import BalanceCache, balance_cache
from cvms.store.database import Database, open_database
from cvms.store.limits import Limiter, limiter
from cvms.store.redis_client import open_redis
from cvms.store.sealed import Sealer

log = structlog.get_logger(__name__)

Run = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the tasks and the front end share."""

    config: Config
    programs: Programs
    database: Database
    rpc: Rpc
    cache: BalanceCache
    limiter: Limiter
    metrics: Metrics
    yield_sources: tuple[YieldSource, ...]
    hub: Hub = field(default_factory=Hub)
    board: Board = field(default_factory=Board)
    progress: Progress = field(default_factory=Progress)
    submit_wake: SubmitWake = field(default_factory=SubmitWake)
    outbox_wake: OutboxWake = field(default_factory=OutboxWake)
    tvl_wake: TvlWake = field(default_factory=TvlWake)
    reconciliations: Reconciliations = field(default_factory=Reconciliations)
    operator_funds: OperatorFunds = field(default_factory=OperatorFunds)


async def serve(
    config: Config,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    shutdown: trio.Event | None = None,
) -> None:
    """Run the whole service until SIGTERM, SIGINT, `shutdown` or a cancellation.

    Reports its URL once it listens; the database and the chain may come later, /ready says so.
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
                await _serve(config, task_status=task_status, stop=stop, orderly=orderly)
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
) -> None:
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        redis = await stack.enter_async_context(open_redis(config.redis_url))
        parts = Parts(
            config=config,
            programs=config.programs,
            database=await stack.enter_async_context(open_database(config.database_url)),
            rpc=await stack.enter_async_context(open_rpc(config.rpc_urls, metrics=metrics)),
            cache=balance_cache(redis, ttl=config.cache_ttl),
            metrics=metrics,
            limiter=limiter(redis, metrics=metrics),
            yield_sources=parse_yield_sources(config.yield_sources),
            operator_funds=OperatorFunds(config.sponsoring.operator_minimum),
        )
        if config.admin_jwt_secret is None:
            log.warning("administrators_routes_are_off", unset="ADMIN_JWT_SECRET")
        if not config.data_encryption_keys:
            log.warning("second_factors_are_off", unset="DATA_ENCRYPTION_KEYS")
        watched = partial(supervise, board=parts.board, metrics=metrics)
        prepared = trio.Event()
        async with trio.open_nursery() as background:
            background.start_soon(watched, "health", _health(parts).run)
            schema = partial(_prepare, parts.database, prepared)
            background.start_soon(partial(watched, "schema", schema, finite=True))
            for name, run in _tasks(parts):
                background.start_soon(watched, name, partial(_once, prepared, run))
            async with trio.open_nursery() as front:
                serve_app = partial(serve_http, _app(parts), config=config, shutdown=stop)
                task_status.started(await _started(front, serve_app, config))
                await stop.wait()
                orderly.deadline = trio.current_time() + config.shutdown_deadline
            # Everything is answered and closed: what is left starts again from the database.
            background.cancel_scope.cancel()


def _app(parts: Parts) -> Edge:
    return create_app(
        config=parts.config,
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        operator=parts.config.operator,
        hub=parts.hub,
        submit_wake=parts.submit_wake,
        board=parts.board,
        cache=parts.cache,
        metrics=parts.metrics,
        limiter=parts.limiter,
        reconciliations=parts.reconciliations,
        yield_sources=parts.yield_sources,
        operator_funds=parts.operator_funds,
    )


def _health(parts: Parts) -> Health:
    return Health(
        database=parts.database,
        rpc=parts.rpc,
        progress=parts.progress,
        max_lag_slots=parts.config.indexer_max_lag_slots,
        board=parts.board,
        metrics=parts.metrics,
    )


def _tasks(parts: Parts) -> list[tuple[str, Run]]:
    """The tasks that need the schema, each with what it is given."""
    indexer = Indexer(
        database=parts.database,
        rpc=parts.rpc,
        ws_urls=parts.config.ws_urls,
        programs=parts.programs,
        progress=parts.progress,
        indexed=parts.reconciliations.indexed,
        outbox_wake=parts.outbox_wake,
        tvl_wake=parts.tvl_wake,
        cache=parts.cache,
        board=parts.board,
        metrics=parts.metrics,
    )
    reconciler = Reconciler(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        progress=parts.progress,
        reconciliations=parts.reconciliations,
        outbox_wake=parts.outbox_wake,
        cache=parts.cache,
        interval=parts.config.reconciliation_interval,
        threshold=parts.config.reconciliation_threshold,
        board=parts.board,
        metrics=parts.metrics,
    )
    submitter = Submitter(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        wake=parts.submit_wake,
        outbox_wake=parts.outbox_wake,
        board=parts.board,
        metrics=parts.metrics,
    )
    broadcaster = Broadcaster(
        database=parts.database, hub=parts.hub, wake=parts.outbox_wake, board=parts.board
    )
    balances = Balances(
        database=parts.database,
        wake=parts.tvl_wake,
        outbox_wake=parts.outbox_wake,
        interval=parts.config.balance_monitor_interval,
        board=parts.board,
        metrics=parts.metrics,
    )
    operator_balance = OperatorBalance(
        database=parts.database,
        rpc=parts.rpc,
        operator=parts.config.operator.pubkey(),
        funds=parts.operator_funds,
        board=parts.board,
        metrics=parts.metrics,
    )
    second_look = SecondLook(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        outbox_wake=parts.outbox_wake,
        cache=parts.cache,
    )
    settler = Settler(
        database=parts.database,
        rpc=parts.rpc,
        forks=indexer.forks,
        second_look=second_look,
        board=parts.board,
    )
    retention = Retention(database=parts.database, board=parts.board)
    webhooks = Webhooks(
        database=parts.database,
        sealer=Sealer(parts.config.data_encryption_keys),
        private=parts.config.webhook_private_addresses,
        board=parts.board,
        context=httpx.create_ssl_context(),
    )
    return [
        ("indexer", indexer.run),
        ("reconciler", reconciler.run),
        ("submitter", submitter.run),
        ("broadcaster", broadcaster.run),
        ("balances", balances.run),
        ("operator_balance", operator_balance.run),
        ("settler", settler.run),
        ("retention", retention.run),
        ("webhooks", webhooks.run),
    ]


async def _prepare(database: Database, prepared: trio.Event) -> None:
    await database.prepare()
    prepared.set()


async def _once(prepared: trio.Event, run: Run) -> None:
    await prepared.wait()
    await run()


async def _started(
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
