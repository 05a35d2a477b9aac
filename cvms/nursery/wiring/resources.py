"""What the tasks and the front end of a replica share, put together by run.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cvms.chain.rpc.rpc_client import Rpc
from cvms.chain.types import Programs
from cvms.chain.yields.sources import YieldSource
from cvms.config.settings import Config
from cvms.metrics import Metrics
from cvms.nursery.channels.account_registry import AccountRegistry
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.indexer_progress import Progress
from cvms.nursery.channels.reconcile_requests import Reconciliations
from cvms.nursery.channels.status_board import OperatorFunds, StatusBoard
from cvms.nursery.channels.wakeups import OutboxWake, SubmitWake, TimelockWake, TvlWake
from cvms.store.messaging.outbox_notifier import OutboxNotifier
from cvms.store.postgres.database import Database
from cvms.store.redis.balance_cache import BalanceCache
from cvms.store.redis.rate_limiter import Limiter

Run = Callable[[], Awaitable[None]]
"""A task: runs until it is cancelled."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything of which there is one in a process."""

    config: Config
    programs: Programs
    database: Database
    outbox_notifier: OutboxNotifier
    rpc: Rpc
    cache: BalanceCache
    limiter: Limiter
    metrics: Metrics
    yield_sources: tuple[YieldSource, ...]
    board: StatusBoard
    hub: Hub = field(default_factory=Hub)
    accounts: AccountRegistry = field(default_factory=AccountRegistry)
    progress: Progress = field(default_factory=Progress)
    submit_wake: SubmitWake = field(default_factory=SubmitWake)
    outbox_wake: OutboxWake = field(default_factory=OutboxWake)
    tvl_wake: TvlWake = field(default_factory=TvlWake)
    timelock_wake: TimelockWake = field(default_factory=TimelockWake)
    reconciliations: Reconciliations = field(default_factory=Reconciliations)
    operator_funds: OperatorFunds = field(default_factory=OperatorFunds)
