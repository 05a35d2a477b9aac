"""Prometheus metrics: names, labels and units in one place. Built once, passed by argument."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """Every metric of one process. Amounts are in the token's smallest unit."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.operations = Counter(
            "vault_operations_total",
            "Requests for a vault operation, by operation and outcome",
            ["operation", "outcome"],
            registry=self.registry,
        )
        self.submissions = Counter(
            "transaction_submissions_total",
            "Transactions by the state they reached",
            ["state"],
            registry=self.registry,
        )
        self.balance_query_seconds = Histogram(
            "balance_query_duration_seconds",
            "Time to answer a balance query",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
            registry=self.registry,
        )
        self.total_value_locked = Gauge(
            "total_value_locked",
            "Sum of all vaults' balances",
            registry=self.registry,
        )
        self.indexer_slot = Gauge(
            "indexer_slot", "Slot up to which events are applied", registry=self.registry
        )
        self.indexer_lag_slots = Gauge(
            "indexer_lag_slots", "Slots between the chain and the indexer", registry=self.registry
        )
        self.indexer_lag_seconds = Gauge(
            "indexer_lag_seconds",
            "Seconds since everything confirmed was last known to be applied",
            registry=self.registry,
        )
        self.indexer_gap = Gauge(
            "indexer_gap_signatures",
            "Transactions that are listed and not applied yet",
            registry=self.registry,
        )
        self.indexer_batches = Counter(
            "indexer_batches_total",
            "Batches of transactions applied, each in one database transaction",
            registry=self.registry,
        )
        self.retracted_events = Counter(
            "indexer_retracted_events_total",
            "Events taken back since a fork dropped their blocks",
            registry=self.registry,
        )
        self.rebuilt_logs = Counter(
            "indexer_rebuilt_logs_total",
            "Transactions whose events were rebuilt from their instructions, since logs were cut",
            registry=self.registry,
        )
        self.unread_logs = Counter(
            "indexer_unread_logs_total",
            "Transactions whose logs do not show all of their events",
            registry=self.registry,
        )
        self.reconciliation_checks = Counter(
            "reconciliation_checks_total",
            "Vaults compared with the chain, by outcome",
            ["outcome"],
            registry=self.registry,
        )
        self.reconciliation_differences = Counter(
            "reconciliation_differences_total",
            "Differences between the books and the chain, by field and by whether they were healed",
            ["field", "healed"],
            registry=self.registry,
        )
        self.task_restarts = Counter(
            "task_restarts_total", "Supervised tasks restarted", ["task"], registry=self.registry
        )
        self.rpc_requests = Counter(
            "rpc_requests_total",
            "JSON-RPC requests by method and outcome",
            ["method", "outcome"],
            registry=self.registry,
        )
        self.websocket_clients = Gauge(
            "websocket_clients", "Open WebSocket connections", registry=self.registry
        )
        self.limited = Counter(
            "requests_limited_total",
            "Requests refused with 429, by the allowance that they used up",
            ["scope"],
            registry=self.registry,
        )
        self.limits_local = Gauge(
            "limits_local",
            "1 while Redis is away and each replica counts requests for itself",
            registry=self.registry,
        )
