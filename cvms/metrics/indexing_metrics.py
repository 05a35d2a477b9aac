"""Metrics of the indexer, and of the comparison of the database with the chain."""

from __future__ import annotations

from cvms.metrics.series import Series


class IndexingMetrics:
    """How far the database follows the chain."""

    def __init__(self, series: Series) -> None:
        self.slot = series.gauge("indexer_slot", "Slot up to which events are applied")
        self.lag_slots = series.gauge(
            "indexer_lag_slots", "Slots between the chain and the indexer"
        )
        self.lag_seconds = series.gauge(
            "indexer_lag_seconds",
            "Seconds since all confirmed transactions were last known to be applied",
        )
        self.gap = series.gauge(
            "indexer_gap_signatures", "Transactions that are listed but not applied yet"
        )
        self.batches = series.counter(
            "indexer_batches_total",
            "Batches of transactions applied, each in one database transaction",
        )
        self.retracted_events = series.counter(
            "indexer_retracted_events_total",
            "Events rolled back because a fork dropped their blocks",
        )
        self.rebuilt_logs = series.counter(
            "indexer_rebuilt_logs_total",
            "Transactions with truncated logs whose events were reconstructed from instructions",
        )
        self.unread_logs = series.counter(
            "indexer_unread_logs_total",
            "Transactions whose logs do not have all of their events",
        )


class ReconciliationMetrics:
    """Comparisons of the database with the chain."""

    def __init__(self, series: Series) -> None:
        self.checks = series.counter(
            "reconciliation_checks_total",
            "Vaults compared with the chain, by outcome",
            outcome=("equal", "difference"),
        )
        self.differences = series.counter(
            "reconciliation_differences_total",
            "Differences between the database and the chain, by field and whether they were healed",
            field=(),
            healed=(),
        )
