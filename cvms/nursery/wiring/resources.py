"""What the tasks and the front end of a replica share, put together by run.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Programs
from cvms.chain.yields.sources import YieldSource
from cvms.config.settings import Config
from cvms.metrics import Metrics
from cvms.nursery.channels.account_registry import AccountRegistry
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import ReconcileQueue
from cvms.nursery.channels.status_board import OperatorFunds, StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, SubmitWakeup, TimelockWakeup, TvlWakeup
from cvms.store.messaging.outbox_notifier import OutboxNotifier
from cvms.store.postgres.database import Database
from cvms.store.redis.balance_cache import BalanceCache
from cvms.store.redis.rate_limiter import Limiter

TaskFunction = Callable[[], Awaitable[None]]
"""A task: runs until it is cancelled."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything of which there is one in a process."""

    config: Config
    programs: Programs
    database: Database
    outbox_notifier: OutboxNotifier
    rpc: RpcClient
    cache: BalanceCache
    limiter: Limiter
    metrics: Metrics
    yield_sources: tuple[YieldSource, ...]
    board: StatusBoard
    hub: Hub = field(default_factory=Hub)
    accounts: AccountRegistry = field(default_factory=AccountRegistry)
    progress: IndexerProgress = field(default_factory=IndexerProgress)
    submit_wake: SubmitWakeup = field(default_factory=SubmitWakeup)
    outbox_wake: OutboxWakeup = field(default_factory=OutboxWakeup)
    tvl_wake: TvlWakeup = field(default_factory=TvlWakeup)
    timelock_wake: TimelockWakeup = field(default_factory=TimelockWakeup)
    reconcile_queue: ReconcileQueue = field(default_factory=ReconcileQueue)
    operator_funds: OperatorFunds = field(default_factory=OperatorFunds)
