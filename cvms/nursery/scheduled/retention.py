"""Delete what has outlived its use, so that no table grows for ever."""

from __future__ import annotations

from datetime import timedelta

import trio

from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.scheduled.balance_snapshots import HOURLY_AGE
from cvms.store.alerts import alerts
from cvms.store.messaging import outbox, webhook_deliveries
from cvms.store.postgres.database import Database
from cvms.store.reconciliation import reconciliation_log
from cvms.store.security import idempotency_keys, nonces, second_factors
from cvms.store.submissions import fee_budget, multisig_proposals, submissions
from cvms.store.vaults import balance_snapshots, maturities, yield_rates

POLL_SECONDS = 600.0
OUTBOX_AGE = timedelta(days=1)
"""How long a client may be away and still be told what it missed."""
BUILT_AGE = timedelta(days=1)
"""A block hash lives for a minute or two: what was not signed by then never will be."""
IDEMPOTENCY_KEY_AGE = timedelta(days=1)
"""How long a request may be sent again under its Idempotency-Key."""
UNCONFIRMED_FACTOR_AGE = timedelta(days=1)
"""A second factor that nobody has shown a code of is of no use after an hour."""
FEE_CHARGE_AGE = timedelta(days=30)
"""What never lands is known within minutes, and given back to its day."""
RECONCILIATION_AGE = timedelta(days=90)
PROPOSAL_AGE = timedelta(days=90)
DELIVERY_AGE = timedelta(days=30)
ALERT_AGE = timedelta(days=90)
MATURITY_AGE = timedelta(days=7)
YIELD_RATE_AGE = timedelta(days=366)


class Retention:
    """Prunes the tables that grow; those of record (history, events, audit) are kept for good."""

    def __init__(self, *, database: Database, board: StatusBoard) -> None:
        self._database = database
        self._board = board

    async def run(self) -> None:
        """Prune now and then until cancelled."""
        while True:
            await self.run_once()
            self._board.task_succeeded("retention")
            await trio.sleep(POLL_SECONDS)

    async def run_once(self) -> None:
        """One round; two replicas at it at once do no harm."""
        async with self._database.connection() as conn:
            await outbox.prune(conn, OUTBOX_AGE)
            await nonces.prune(conn)
            await submissions.prune_built(conn, BUILT_AGE)
            await fee_budget.prune(conn, FEE_CHARGE_AGE)
            await idempotency_keys.prune(conn, IDEMPOTENCY_KEY_AGE)
            await second_factors.prune(conn, UNCONFIRMED_FACTOR_AGE)
            await reconciliation_log.prune(conn, RECONCILIATION_AGE)
            await multisig_proposals.prune(conn, PROPOSAL_AGE)
            await webhook_deliveries.prune(conn, DELIVERY_AGE)
            await alerts.prune(conn, ALERT_AGE)
            await balance_snapshots.prune(conn, HOURLY_AGE)
            await maturities.prune(conn, MATURITY_AGE)
            await yield_rates.prune(conn, YIELD_RATE_AGE)
