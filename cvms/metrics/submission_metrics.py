"""Metrics of transactions on their way to the chain, and of the keys that pay for them."""

from __future__ import annotations

import math

from cvms.metrics.series import Series
from cvms.metrics.snapshot import Across


class SubmissionMetrics:
    """Transactions that the service sends."""

    def __init__(self, series: Series) -> None:
        self.states = series.counter(
            "transaction_submissions_total", "Transactions by the state they reached", state=()
        )
        self.under_way = series.gauge(
            "transaction_submissions_under_way",
            "Signed transactions without a final outcome, or with an unknown one, by state",
            state=(),
        )
        self.oldest_seconds = series.gauge(
            "transaction_submission_oldest_seconds",
            "Seconds since the oldest transaction in flight was signed",
        )
        self.confirmation_seconds = series.histogram(
            "transaction_confirmation_seconds",
            "Time from a transaction's last signature until its block is seen",
            (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0),
        )
        self.resends = series.counter(
            "transaction_resends_total", "Repeated sends of the same transaction"
        )


class OperatorMetrics:
    """The operator's keys."""

    def __init__(self, series: Series) -> None:
        self.lamports = series.gauge(
            "operator_lamports", "Balance of the operator's key that pays fees", Across.MIN
        )
        # Unknown until the first reading: zero would raise an alarm.
        self.lamports.set(math.nan)
        self.pays = series.gauge(
            "operator_pays",
            "0 while the operator's balance is too low to pay the fees of owners",
            Across.MIN,
        )
        self.pays.set(1)
        self.signer_lamports = series.gauge(
            "operator_signer_lamports",
            "Balance of each key of the operator, which pays fees or stands by",
            Across.MIN,
            address=(),
        )
        self.signer_available = series.gauge(
            "operator_signer_available",
            "0 while a signer outside the process does not sign",
            Across.MIN,
            address=(),
        )
        self.sponsored_lamports = series.gauge(
            "sponsored_lamports_today",
            "Fees in lamports that the operator has signed to pay for owners today (UTC)",
        )
        self.audit_head = series.gauge(
            "audit_head",
            "Id of the newest entry of the audit trail whose hash this replica has signed",
        )
        # Unknown unless this replica leads: zero would look like a trail that was cut off.
        self.audit_head.set(math.nan)
