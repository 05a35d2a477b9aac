"""Monitor of the operator's balance, below whose minimum sponsoring is suspended."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import OperatorFunds
from cvms.store.postgres.database import Database
from cvms.store.submissions import fee_budget

log = structlog.get_logger(__name__)

BALANCE_SECONDS = 10.0
"""Short enough: even at the fastest, spending a day's budget takes hours."""


@dataclass(slots=True, kw_only=True, eq=False)
class OperatorBalanceMonitor:
    """Updates `OperatorFunds` and its metrics."""

    database: Database
    rpc: RpcClient
    operator: Pubkey
    funds: OperatorFunds
    metrics: Metrics

    async def run_once(self) -> None:
        """Read the balance from the chain, and today's spending from the database."""
        before = self.funds.enough
        self.funds.lamports = await self.rpc.get_balance(self.operator)
        now = self.funds.enough
        self.metrics.operator_lamports.set(self.funds.lamports)
        self.metrics.operator_pays.set(int(now))
        if now != before:
            event = "sponsoring_resumed" if now else "sponsoring_suspended"
            level = log.info if now else log.error
            level(event, lamports=self.funds.lamports, minimum=self.funds.minimum)
        async with self.database.connection() as conn:
            self.metrics.sponsored_lamports.set(await fee_budget.spent_today(conn))
