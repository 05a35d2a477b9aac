"""Monitor of the operator's balance, below whose minimum sponsoring is suspended."""

from __future__ import annotations

import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import OperatorFunds, StatusBoard
from cvms.store.postgres.database import Database
from cvms.store.submissions import fee_budget

log = structlog.get_logger(__name__)

POLL_SECONDS = 10.0
"""Short enough: even at the fastest, spending a day's budget takes hours."""


class OperatorBalanceMonitor:
    """Updates `OperatorFunds` and its metrics."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: RpcClient,
        operator: Pubkey,
        funds: OperatorFunds,
        board: StatusBoard,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._operator = operator
        self._funds = funds
        self._board = board
        self._metrics = metrics

    async def run(self) -> None:
        """Run once every POLL_SECONDS until cancelled."""
        while True:
            await self.run_once()
            self._board.task_succeeded("operator_balance")
            await trio.sleep(POLL_SECONDS)

    async def run_once(self) -> None:
        """Read the balance from the chain, and today's spending from the database."""
        before = self._funds.enough
        self._funds.lamports = await self._rpc.get_balance(self._operator)
        now = self._funds.enough
        self._metrics.operator_lamports.set(self._funds.lamports)
        self._metrics.operator_pays.set(int(now))
        if now != before:
            event = "sponsoring_resumed" if now else "sponsoring_suspended"
            level = log.info if now else log.error
            level(event, lamports=self._funds.lamports, minimum=self._funds.minimum)
        async with self._database.connection() as conn:
            self._metrics.sponsored_lamports.set(await fee_budget.spent_today(conn))
