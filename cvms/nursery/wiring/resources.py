"""Resources of a process, which its tasks and its front end share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import Programs
from cvms.chain.yields.sources import YieldSource, parse_yield_sources
from cvms.config.settings import Config
from cvms.log.configuration import ProcessLog
from cvms.log.level import LogLevel
from cvms.metrics import Metrics
from cvms.nursery.channels.account_registry import AccountRegistry
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import ReconcileQueue
from cvms.nursery.channels.reply_cache import ReplyCache
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, SubmitWakeup, TimelockWakeup, TvlWakeup
from cvms.signing.open_signers import open_signers
from cvms.signing.signer_set import SignerSet
from cvms.store.indexed_reads.batched_queries import BatchedQueries, start_batched_queries
from cvms.store.indexed_reads.reader import Reader, start_reader
from cvms.store.messaging.outbox_notifier import OutboxNotifier, outbox_notifier
from cvms.store.postgres.database import Database, open_database
from cvms.store.redis.rate_limiter import Limiter, limiter
from cvms.store.redis.redis_client import open_redis
from cvms.traces.otlp_export import open_traces
from cvms.traces.spans import Traces

TaskFunction = Callable[[], Awaitable[None]]
"""The body of a task, which runs until it is cancelled."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The components of which a process has exactly one."""

    config: Config
    programs: Programs
    database: Database
    queries: BatchedQueries
    reader: Reader
    outbox_notifier: OutboxNotifier
    rpc: RpcClient
    signers: SignerSet
    replies: ReplyCache
    limiter: Limiter
    metrics: Metrics
    yield_sources: tuple[YieldSource, ...]
    board: StatusBoard
    log: ProcessLog
    traces: Traces
    hub: Hub = field(default_factory=Hub)
    accounts: AccountRegistry = field(default_factory=AccountRegistry)
    progress: IndexerProgress = field(default_factory=IndexerProgress)
    submit_wake: SubmitWakeup = field(default_factory=SubmitWakeup)
    outbox_wake: OutboxWakeup = field(default_factory=OutboxWakeup)
    tvl_wake: TvlWakeup = field(default_factory=TvlWakeup)
    timelock_wake: TimelockWakeup = field(default_factory=TimelockWakeup)
    reconcile_queue: ReconcileQueue = field(default_factory=ReconcileQueue)


@asynccontextmanager
async def open_resources(
    config: Config,
    *,
    board: StatusBoard,
    metrics: Metrics,
    process_log: ProcessLog | None = None,
) -> AsyncIterator[Resources]:
    """Build the resources, and close the connections to database, Redis, nodes and signers
    afterwards."""
    log = process_log or ProcessLog(LogLevel(config.log_level))
    log.count = lambda level: metrics.service.log_lines.labels(level=level).inc()
    async with (
        open_traces(config.tracing.endpoint) as traces,
        open_redis(config.redis_url) as redis,
        open_database(
            config.database_url,
            size=config.database_connections,
            metrics=metrics.database,
        ) as database,
        open_rpc(config.rpc_urls, metrics=metrics) as rpc,
        open_signers(
            config.operators, config.signing, minimum=config.sponsoring.operator_minimum
        ) as signers,
        trio.open_nursery() as tasks,
    ):
        queries = start_batched_queries(database, tasks)
        reader = start_reader(
            database,
            queries,
            tasks,
            urls=config.replicas.urls,
            max_lag=config.replicas.max_lag,
            program=str(config.programs.vault),
            metrics=metrics,
        )
        yield Resources(
            config=config,
            programs=config.programs,
            database=database,
            queries=queries,
            reader=reader,
            outbox_notifier=outbox_notifier(redis, database),
            rpc=rpc,
            signers=signers,
            replies=ReplyCache(max_bytes=config.reply_cache_bytes, max_age=config.cache_ttl),
            limiter=limiter(redis, metrics=metrics),
            metrics=metrics,
            yield_sources=parse_yield_sources(config.yield_sources),
            board=board,
            log=log,
            traces=traces,
        )
        tasks.cancel_scope.cancel()
