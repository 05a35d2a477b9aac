"""The composition root: everything is built here, handed on by name, started and stopped."""

from __future__ import annotations

import os
import platform
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import httpx
import structlog
import trio

from cvms.chain.protocols.sources import YieldSource, parse_yield_sources, pools_among
from cvms.chain.rpc import Rpc, open_rpc
from cvms.chain.types import Lamports, Programs
from cvms.config import Config
from cvms.errors import ConfigurationError
from cvms.http import create_app, serve_http
from cvms.http.edge import Edge
from cvms.metrics import Metrics
from cvms.nursery.account_channel import AccountRegistry
from cvms.nursery.accounts import Accounts
from cvms.nursery.alert_rules import bounds_of
from cvms.nursery.balances import Balances
from cvms.nursery.broadcaster import Broadcaster
from cvms.nursery.calls import Calls
from cvms.nursery.channels import (
    Board,
    Hub,
    OutboxWake,
    Reconciliations,
    SubmitWake,
    TimelockWake,
    TvlWake,
)
from cvms.nursery.compounding import Compounding
from cvms.nursery.health import Health
from cvms.nursery.indexer import Indexer, Progress
from cvms.nursery.leader import Leader
from cvms.nursery.monitor import Monitor
from cvms.nursery.reconciler import Reconciler
from cvms.nursery.releases import Releases
from cvms.nursery.retention import Retention
from cvms.nursery.settler import Settler
from cvms.nursery.snapshots import Snapshots
from cvms.nursery.submitter import Submitter
from cvms.nursery.supervision import supervise
from cvms.nursery.task_health import seconds_expected
from cvms.nursery.timelocks import Timelocks
from cvms.nursery.unasked import Operator
from cvms.nursery.webhooks import AlertsQueue, SignersQueue, Webhooks
from cvms.nursery.yields import YieldRates
from cvms.store.alert_books import hook_of
from cvms.store.bell import Bell, outbox_bell
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
    bell: Bell
    rpc: Rpc
    cache: BalanceCache
    limiter: Limiter
    metrics: Metrics
    yield_sources: tuple[YieldSource, ...]
    board: Board
    hub: Hub = field(default_factory=Hub)
    accounts: AccountRegistry = field(default_factory=AccountRegistry)
    progress: Progress = field(default_factory=Progress)
    submit_wake: SubmitWake = field(default_factory=SubmitWake)
    outbox_wake: OutboxWake = field(default_factory=OutboxWake)
    tvl_wake: TvlWake = field(default_factory=TvlWake)
    timelock_wake: TimelockWake = field(default_factory=TimelockWake)
    reconciliations: Reconciliations = field(default_factory=Reconciliations)


async def serve(
    config: Config,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    shutdown: trio.Event | None = None,
    listener: socket.socket | None = None,
    board: Board | None = None,
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
                    board=board or Board(),
                )
            watch.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise _only(group) from None
    log.info("stopped", in_order=not orderly.cancelled_caught)


async def _serve(
    config: Config,
    *,
    task_status: trio.TaskStatus[str],
    stop: trio.Event,
    orderly: trio.CancelScope,
    listener: socket.socket | None,
    board: Board,
) -> None:
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        redis = await stack.enter_async_context(open_redis(config.redis_url))
        database = await stack.enter_async_context(open_database(config.database_url))
        parts = Parts(
            config=config,
            programs=config.programs,
            database=database,
            bell=outbox_bell(redis, database),
            rpc=await stack.enter_async_context(open_rpc(config.rpc_urls, metrics=metrics)),
            cache=balance_cache(redis, ttl=config.cache_ttl),
            metrics=metrics,
            limiter=limiter(redis, metrics=metrics),
            yield_sources=parse_yield_sources(config.yield_sources),
            board=board,
        )
        if config.admin_jwt_secret is None:
            log.warning("administrators_routes_are_off", unset="ADMIN_JWT_SECRET")
        if not config.data_encryption_keys:
            log.warning("second_factors_are_off", unset="DATA_ENCRYPTION_KEYS")
        watched = partial(_watched, parts)
        prepared = trio.Event()
        async with trio.open_nursery() as background:
            background.start_soon(watched, "health", _health(parts).run)
            schema = partial(_prepare, parts.database, prepared)
            background.start_soon(partial(watched, "schema", schema, finite=True))
            background.start_soon(watched, "accounts", _accounts(parts).run)
            for name, run in _everywhere(parts):
                parts.board.task_is(name, "starting")
                background.start_soon(_once, prepared, partial(watched, name, run))
            leader = Leader(
                database=parts.database,
                tasks=partial(_lead, parts, watched),
                name=f"{platform.node()}:{os.getpid()}",
                progress=parts.progress,
                board=board,
                metrics=metrics,
            )
            background.start_soon(_once, prepared, partial(watched, "leader", leader.run))
            async with trio.open_nursery() as front:
                serve_app = partial(
                    serve_http, _app(parts), config=config, shutdown=stop, listener=listener
                )
                task_status.started(await _started(front, serve_app, config))
                await stop.wait()
                orderly.deadline = trio.current_time() + config.shutdown_deadline
            # Everything is answered and closed: what is left starts again from the database.
            background.cancel_scope.cancel()


async def _watched(parts: Parts, name: str, run: Run, *, finite: bool = False) -> None:
    await supervise(
        name,
        run,
        board=parts.board,
        metrics=parts.metrics,
        finite=finite,
        expected=None if finite else seconds_expected(name, parts.config),
    )


def _app(parts: Parts) -> Edge:
    return create_app(
        config=parts.config,
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        operator=parts.config.operator,
        hub=parts.hub,
        accounts=parts.accounts,
        submit_wake=parts.submit_wake,
        board=parts.board,
        cache=parts.cache,
        metrics=parts.metrics,
        limiter=parts.limiter,
        reconciliations=parts.reconciliations,
        yield_sources=parts.yield_sources,
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


def _broadcaster(parts: Parts) -> Broadcaster:
    return Broadcaster(
        database=parts.database,
        hub=parts.hub,
        wake=parts.outbox_wake,
        bell=parts.bell,
        board=parts.board,
    )


def _accounts(parts: Parts) -> Accounts:
    return Accounts(
        rpc=parts.rpc,
        ws_urls=parts.config.ws_urls,
        registry=parts.accounts,
        board=parts.board,
        metrics=parts.metrics,
    )


def _everywhere(parts: Parts) -> list[tuple[str, Run]]:
    """The tasks of every replica that need the schema."""
    return [("broadcaster", _broadcaster(parts).run), ("monitor", _monitor(parts).run)]


async def _lead(parts: Parts, watched: Callable[[str, Run], Awaitable[None]]) -> None:
    """What the leading replica runs, until it leads no more."""
    tasks = _tasks(parts)
    try:
        async with trio.open_nursery() as nursery:
            for name, run in tasks:
                nursery.start_soon(watched, name, run)
    finally:
        for name, _ in tasks:
            parts.board.task_is(name, "standby")


def _tasks(parts: Parts) -> list[tuple[str, Run]]:
    """The tasks of which there must be one among all replicas, each with what it is given."""
    indexer = Indexer(
        database=parts.database,
        rpc=parts.rpc,
        ws_urls=parts.config.ws_urls,
        programs=parts.programs,
        progress=parts.progress,
        indexed=parts.reconciliations.indexed,
        outbox_wake=parts.outbox_wake,
        tvl_wake=parts.tvl_wake,
        timelock_wake=parts.timelock_wake,
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
    balances = Balances(
        database=parts.database,
        program=str(parts.programs.vault),
        wake=parts.tvl_wake,
        outbox_wake=parts.outbox_wake,
        interval=parts.config.balance_monitor_interval,
        board=parts.board,
        metrics=parts.metrics,
    )
    snapshots = Snapshots(
        database=parts.database,
        program=str(parts.programs.vault),
        max_lag_slots=parts.config.indexer_max_lag_slots,
        board=parts.board,
    )
    settler = Settler(database=parts.database, rpc=parts.rpc, board=parts.board)
    retention = Retention(database=parts.database, board=parts.board)
    calls = Calls(
        database=parts.database,
        submit_wake=parts.submit_wake,
        reconciliations=parts.reconciliations,
        board=parts.board,
    )
    webhooks = partial(
        Webhooks,
        database=parts.database,
        private=parts.config.webhook_private_addresses,
        board=parts.board,
        context=httpx.create_ssl_context(),
    )
    signers = webhooks(queue=SignersQueue(Sealer(parts.config.data_encryption_keys)))
    return [
        ("indexer", indexer.run),
        ("reconciler", reconciler.run),
        ("submitter", submitter.run),
        ("balances", balances.run),
        ("snapshots", snapshots.run),
        ("settler", settler.run),
        ("retention", retention.run),
        ("webhooks", signers.run),
        *[
            ("alert_webhooks", webhooks(queue=AlertsQueue(url=url, secret=secret)).run)
            for url, secret in parts.config.alerts.webhooks
        ],
        ("timelocks", _timelocks(parts).run),
        ("yield_rates", _yield_rates(parts).run),
        ("compounding", _compounding(parts).run),
        ("calls", calls.run),
    ]


def _monitor(parts: Parts) -> Monitor:
    config = parts.config
    return Monitor(
        database=parts.database,
        rpc=parts.rpc,
        operator=config.operator.pubkey(),
        hub=parts.hub,
        progress=parts.progress,
        outbox_wake=parts.outbox_wake,
        bounds=bounds_of(config.alerts, dust=config.low_balance_threshold),
        low_balance=config.low_balance_threshold,
        fee_payer_minimum=config.alerts.fee_payer_minimum_lamports,
        hook=hook_of(config.alerts),
        board=parts.board,
        metrics=parts.metrics,
    )


def _operator(parts: Parts) -> Operator:
    return Operator(
        key=parts.config.operator,
        rpc=parts.rpc,
        programs=parts.programs,
        max_fee=Lamports(parts.config.operator_max_fee),
        submit_wake=parts.submit_wake,
    )


def _timelocks(parts: Parts) -> Timelocks:
    releases = Releases(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        operator=_operator(parts),
    )
    return Timelocks(
        database=parts.database,
        rpc=parts.rpc,
        progress=parts.progress,
        notice_seconds=parts.config.timelock_notice_seconds,
        releases=releases if parts.config.timelock_release else None,
        wake=parts.timelock_wake,
        outbox_wake=parts.outbox_wake,
        board=parts.board,
    )


def _yield_rates(parts: Parts) -> YieldRates:
    return YieldRates(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        sources=parts.yield_sources,
        interval=parts.config.yield_rates_seconds,
        board=parts.board,
    )


def _compounding(parts: Parts) -> Compounding:
    return Compounding(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        operator=_operator(parts),
        pools=pools_among(parts.yield_sources),
        least=parts.config.yield_compound_min_amount,
        interval=parts.config.yield_compound_seconds,
        board=parts.board,
    )


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


def _only(error: BaseException) -> BaseException:
    """The one error that nested groups hold, or the group that holds several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


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
