"""Retention: deletion of rows that are no longer needed, so that no table grows without bound."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from cvms.nursery.scheduled.balance_snapshots import HOURLY_AGE
from cvms.store.alerts import alerts
from cvms.store.messaging import instances, outbox, webhook_deliveries
from cvms.store.messaging.webhooks import endpoint_secrets, single_deliveries
from cvms.store.postgres.database import Database
from cvms.store.reconciliation import reconciliation_log
from cvms.store.security import (
    approvals,
    idempotency_keys,
    nonces,
    revoked_tokens,
    second_factors,
)
from cvms.store.submissions import fee_budget, multisig_proposals, submissions
from cvms.store.vaults import balance_snapshots, maturities, yield_rates

RETENTION_SECONDS = 600.0
BUILT_AGE = timedelta(days=1)
"""Unsigned transactions. Their blockhash expires after a minute or two."""
IDEMPOTENCY_KEY_AGE = timedelta(days=1)
"""How long a request may be repeated under its Idempotency-Key."""
UNCONFIRMED_FACTOR_AGE = timedelta(days=1)
"""Second factors that were never confirmed with a code. Their setup expires after an hour."""
FEE_CHARGE_AGE = timedelta(days=30)
"""Charges of expired transactions are refunded to their day within minutes."""
RECONCILIATION_AGE = timedelta(days=90)
PROPOSAL_AGE = timedelta(days=90)
DELIVERY_AGE = timedelta(days=30)
ALERT_AGE = timedelta(days=90)
MATURITY_AGE = timedelta(days=7)
YIELD_RATE_AGE = timedelta(days=366)
APPROVAL_AGE = timedelta(days=90)
APPROVAL_SECRET_AGE = timedelta(days=1)
"""Replies that have a secret. Whoever has lost one makes a new secret."""
REVOCATION_AGE = timedelta(days=2)
"""No token is valid for longer than a day."""
INSTANCE_AGE = timedelta(days=1)
"""Since the last heartbeat of a process that has ended."""
PRUNE_SECONDS = 600.0
"""Timeout of one table, of which a day may be too old after a stop."""


@dataclass(slots=True, kw_only=True, eq=False)
class Retention:
    """Prunes the tables that grow. Tables of record (history, events, audit) are kept forever."""

    database: Database

    async def run_once(self) -> None:
        """Prune every table. Two replicas may do so at the same time."""
        async with self.database.dedicated(query_timeout=PRUNE_SECONDS) as conn:
            await outbox.prune(conn)
            await nonces.prune(conn)
            await submissions.prune_built(conn, BUILT_AGE)
            await fee_budget.prune(conn, FEE_CHARGE_AGE)
            await idempotency_keys.prune(conn, IDEMPOTENCY_KEY_AGE)
            await approvals.prune(conn, APPROVAL_AGE)
            await approvals.prune_secrets(conn, APPROVAL_SECRET_AGE)
            await revoked_tokens.prune(conn, REVOCATION_AGE)
            await second_factors.prune(conn, UNCONFIRMED_FACTOR_AGE)
            await reconciliation_log.prune(conn, RECONCILIATION_AGE)
            await multisig_proposals.prune(conn, PROPOSAL_AGE)
            await webhook_deliveries.prune(conn, DELIVERY_AGE)
            await single_deliveries.prune(conn)
            await endpoint_secrets.prune(conn)
            await instances.prune(conn, INSTANCE_AGE)
            await alerts.prune(conn, ALERT_AGE)
            await balance_snapshots.prune(conn, HOURLY_AGE)
            await maturities.prune(conn, MATURITY_AGE)
            await yield_rates.prune(conn, YIELD_RATE_AGE)
