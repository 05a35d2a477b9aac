"""Prometheus metrics: names, labels and units. One instance is built, and passed by argument."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class WebhookMetrics:
    """Metrics of the webhooks of integrators."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.endpoints = Gauge(
            "webhook_endpoints",
            "Endpoints of integrators by state; `failing` are active ones that accept nothing",
            ["state"],
            registry=registry,
        )
        self.messages = Counter(
            "webhook_messages_total",
            "Attempts to send an event to an endpoint, by outcome",
            ["outcome"],
            registry=registry,
        )
        self.delay_seconds = Histogram(
            "webhook_delay_seconds",
            "Time from the commit of an event until an endpoint has accepted it",
            buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0, 3600.0, 86400.0),
            registry=registry,
        )


class Metrics:
    """All metrics of a process. Amounts are in the token's smallest unit."""

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
        self.submissions_under_way = Gauge(
            "transaction_submissions_under_way",
            "Signed transactions without a final outcome, or with an unknown one, by state",
            ["state"],
            registry=self.registry,
        )
        self.oldest_submission_seconds = Gauge(
            "transaction_submission_oldest_seconds",
            "Seconds since the oldest transaction in flight was signed",
            registry=self.registry,
        )
        self.confirmation_seconds = Histogram(
            "transaction_confirmation_seconds",
            "Time from a transaction's last signature until its block is seen",
            buckets=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0),
            registry=self.registry,
        )
        self.resends = Counter(
            "transaction_resends_total",
            "Repeated sends of the same transaction",
            registry=self.registry,
        )
        self.operator_lamports = Gauge(
            "operator_lamports",
            "Balance of the operator's key that pays fees",
            registry=self.registry,
        )
        # Unknown until the first reading: zero would raise an alarm.
        self.operator_lamports.set(math.nan)
        self.operator_pays = Gauge(
            "operator_pays",
            "0 while the operator's balance is too low to pay the fees of owners",
            registry=self.registry,
        )
        self.operator_pays.set(1)
        self.signer_lamports = Gauge(
            "operator_signer_lamports",
            "Balance of each key of the operator, which pays fees or stands by",
            ["address"],
            registry=self.registry,
        )
        self.signer_available = Gauge(
            "operator_signer_available",
            "0 while a signer outside the process does not sign",
            ["address"],
            registry=self.registry,
        )
        self.sponsored_lamports = Gauge(
            "sponsored_lamports_today",
            "Fees in lamports that the operator has signed to pay for owners today (UTC)",
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
        self.active_vaults = Gauge("active_vaults", "Open vaults", registry=self.registry)
        self.request_seconds = Histogram(
            "request_duration_seconds",
            "Time to answer a request, of any route",
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0),
            registry=self.registry,
        )
        self._add_indexing()
        self.task_restarts = Counter(
            "task_restarts_total", "Supervised tasks restarted", ["task"], registry=self.registry
        )
        self.transaction_repeats = Counter(
            "database_transaction_repeats_total",
            "Database transactions repeated after a deadlock or a serialization failure",
            registry=self.registry,
        )
        self.rpc_requests = Counter(
            "rpc_requests_total",
            "JSON-RPC requests by method and outcome",
            ["method", "outcome"],
            registry=self.registry,
        )
        self.priority_fees_known = Gauge(
            "priority_fees_known",
            "0 while no RPC endpoint says what others pay: transactions are built without a price",
            registry=self.registry,
        )
        self.priority_fees_known.set(1)
        self.watched_accounts = Gauge(
            "watched_accounts",
            "Accounts of the chain that WebSocket clients watch",
            registry=self.registry,
        )
        self.rpc_endpoint_requests = Counter(
            "rpc_endpoint_requests_total",
            "Attempts at an RPC endpoint (by host) by outcome; throttled: by its rate limit",
            ["endpoint", "outcome"],
            registry=self.registry,
        )
        self.replica_up = Gauge(
            "read_replica_up",
            "1 while reads may go to a replica of DATABASE_READ_URLS, by its place there",
            ["replica"],
            registry=self.registry,
        )
        self.replica_slot = Gauge(
            "read_replica_slot",
            "Newest indexed slot at a replica",
            ["replica"],
            registry=self.registry,
        )
        self.replica_lag = Gauge(
            "read_replica_lag_seconds",
            "Seconds by which a replica was behind the primary, when it last answered",
            ["replica"],
            registry=self.registry,
        )
        self.replica_reads = Counter(
            "indexed_reads_total",
            "Reads of what is indexed whose slot is known, by the replica that answered or primary",
            ["server"],
            registry=self.registry,
        )
        self.rpc_endpoint_up = Gauge(
            "rpc_endpoint_up",
            "1 while an RPC endpoint is in use: it is reachable and on the right chain",
            ["endpoint"],
            registry=self.registry,
        )
        self.rpc_endpoint_slot = Gauge(
            "rpc_endpoint_slot",
            "Newest slot seen at an RPC endpoint",
            ["endpoint"],
            registry=self.registry,
        )
        self.rpc_endpoint_latency = Gauge(
            "rpc_endpoint_latency_seconds",
            "Moving average of an RPC endpoint's response time",
            ["endpoint"],
            registry=self.registry,
        )
        self.rpc_disagreements = Counter(
            "rpc_disagreements_total",
            "Comparisons in which an RPC endpoint had another finalized block or another chain",
            ["endpoint"],
            registry=self.registry,
        )
        self.websocket_clients = Gauge(
            "websocket_clients", "Open WebSocket connections", registry=self.registry
        )
        self.limited = Counter(
            "requests_limited_total",
            "Requests refused with 429, by the rate limit they exceeded",
            ["scope"],
            registry=self.registry,
        )
        self.refused = Counter(
            "http_refused_total",
            "Connections and requests refused or closed for the service to stay available, by "
            "reason",
            ["reason"],
            registry=self.registry,
        )
        self.leader = Gauge(
            "leader",
            "1 while this replica is the leader, which runs the tasks that must run only once",
            registry=self.registry,
        )
        self.limits_local = Gauge(
            "limits_local",
            "1 while Redis is unavailable and each replica applies rate limits by itself",
            registry=self.registry,
        )
        self.audit_head = Gauge(
            "audit_head",
            "Id of the newest entry of the audit trail whose hash this replica has signed",
            registry=self.registry,
        )
        # Unknown unless this replica leads: zero would look like a trail that was cut off.
        self.audit_head.set(math.nan)
        self.alert_webhook_failing = Gauge(
            "alert_webhook_failing",
            "Messages to the operators' webhook of one day that failed three times or more",
            registry=self.registry,
        )
        self.webhooks = WebhookMetrics(self.registry)
        self.alerts_open = Gauge(
            "alerts_open",
            "Alerts that are not resolved, by kind and severity",
            ["kind", "severity"],
            registry=self.registry,
        )

    def _add_indexing(self) -> None:
        self.indexer_slot = Gauge(
            "indexer_slot", "Slot up to which events are applied", registry=self.registry
        )
        self.indexer_lag_slots = Gauge(
            "indexer_lag_slots", "Slots between the chain and the indexer", registry=self.registry
        )
        self.indexer_lag_seconds = Gauge(
            "indexer_lag_seconds",
            "Seconds since all confirmed transactions were last known to be applied",
            registry=self.registry,
        )
        self.indexer_gap = Gauge(
            "indexer_gap_signatures",
            "Transactions that are listed but not applied yet",
            registry=self.registry,
        )
        self.indexer_batches = Counter(
            "indexer_batches_total",
            "Batches of transactions applied, each in one database transaction",
            registry=self.registry,
        )
        self.retracted_events = Counter(
            "indexer_retracted_events_total",
            "Events rolled back because a fork dropped their blocks",
            registry=self.registry,
        )
        self.rebuilt_logs = Counter(
            "indexer_rebuilt_logs_total",
            "Transactions with truncated logs whose events were reconstructed from instructions",
            registry=self.registry,
        )
        self.unread_logs = Counter(
            "indexer_unread_logs_total",
            "Transactions whose logs do not have all of their events",
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
            "Differences between the database and the chain, by field and whether they were healed",
            ["field", "healed"],
            registry=self.registry,
        )
