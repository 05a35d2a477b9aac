"""Monitor of the balances of the operator's keys, below whose minimum sponsoring is suspended."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.metrics import Metrics
from cvms.signing.guarded_signer import GuardedSigner
from cvms.signing.signer_set import SignerSet
from cvms.store.postgres.database import Database
from cvms.store.submissions import fee_budget

log = structlog.get_logger(__name__)

BALANCE_SECONDS = 10.0
"""Short enough: even at the fastest, spending a day's budget takes hours."""


@dataclass(slots=True, kw_only=True, eq=False)
class OperatorBalanceMonitor:
    """Updates the funds of each key, and the metrics."""

    database: Database
    rpc: RpcClient
    signers: SignerSet
    metrics: Metrics

    async def run_once(self) -> None:
        """Read the balances from the chain, and today's spending from the database."""
        for signer in self.signers.signers:
            await self._read_balance(signer)
        payer = self.signers.payer()
        shown = payer or self.signers.preferred
        assert shown.funds.lamports is not None, "each has just been read"
        self.metrics.operator.lamports.set(shown.funds.lamports)
        self.metrics.operator.pays.set(int(payer is not None))
        async with self.database.connection() as conn:
            self.metrics.operator.sponsored_lamports.set(await fee_budget.spent_today(conn))

    async def _read_balance(self, signer: GuardedSigner) -> None:
        address, funds = str(signer.address), signer.funds
        before = funds.enough
        funds.lamports = await self.rpc.get_balance(signer.address)
        self.metrics.operator.signer_lamports.labels(address=address).set(funds.lamports)
        if funds.enough != before:
            event = "sponsoring_resumed" if funds.enough else "sponsoring_suspended"
            level = log.info if funds.enough else log.error
            level(event, address=address, lamports=funds.lamports, minimum=funds.minimum)
