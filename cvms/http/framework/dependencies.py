"""The dependencies of handlers, assembled once by the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.priority_fees import PriorityFees
from cvms.chain.types import Programs
from cvms.chain.yields.rate_cache import RateCache
from cvms.config.settings import Config
from cvms.http.framework.rate_limits import RateLimits
from cvms.log.configuration import ProcessLog
from cvms.metrics import Metrics
from cvms.nursery.channels.account_registry import AccountRegistry
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.reply_cache import ReplyCache
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import SubmitWakeup
from cvms.signing.operator_key import OperatorKey
from cvms.store.indexed_reads.batched_queries import BatchedQueries
from cvms.store.indexed_reads.reader import Reader
from cvms.store.postgres.database import Database
from cvms.store.security.encryption import SecretBox
from cvms.store.security.revoked_tokens import RevocationList


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The services that handlers use."""

    config: Config
    database: Database
    queries: BatchedQueries
    reader: Reader
    rpc: RpcClient
    fees: PriorityFees
    programs: Programs
    operator: OperatorKey
    hub: Hub
    accounts: AccountRegistry
    submit_wake: SubmitWakeup
    board: StatusBoard
    replies: ReplyCache
    metrics: Metrics
    log: ProcessLog
    limits: RateLimits
    secret_box: SecretBox
    revocations: RevocationList
    wall_clock: Callable[[], float]  # in Unix seconds
    yield_rates: RateCache
