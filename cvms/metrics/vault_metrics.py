"""Metrics of what clients ask of vaults. Amounts are in the token's smallest unit."""

from __future__ import annotations

from cvms.metrics.series import Series
from cvms.metrics.snapshot import Across


class VaultMetrics:
    """Operations on vaults, balances, and what all vaults hold."""

    def __init__(self, series: Series) -> None:
        self.operations = series.counter(
            "vault_operations_total",
            "Requests for a vault operation, by operation and outcome",
            operation=(),
            outcome=(),
        )
        self.balance_query_seconds = series.histogram(
            "balance_query_duration_seconds",
            "Time to answer a balance query",
            (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
        )
        self.total_value_locked = series.gauge(
            "total_value_locked", "Sum of all vaults' balances", Across.OWN
        )
        self.active = series.gauge("active_vaults", "Open vaults", Across.OWN)
