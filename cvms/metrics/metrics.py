"""All metrics of a process, by what they are about."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from cvms.metrics.database_metrics import DiskMetrics, PoolMetrics, ReplicaMetrics
from cvms.metrics.delivery_metrics import OutboxMetrics, WebhookMetrics, WebSocketMetrics
from cvms.metrics.exposition import Exposition, Gather
from cvms.metrics.http_metrics import HttpMetrics
from cvms.metrics.indexing_metrics import IndexingMetrics, ReconciliationMetrics
from cvms.metrics.rpc_metrics import RpcMetrics
from cvms.metrics.series import Series
from cvms.metrics.service_metrics import AlertMetrics, ServiceMetrics, TaskMetrics
from cvms.metrics.snapshot import Across
from cvms.metrics.submission_metrics import OperatorMetrics, SubmissionMetrics
from cvms.metrics.vault_metrics import VaultMetrics

OF_THE_PROCESS = {
    "process_resident_memory_bytes": Across.SUM,
    "process_virtual_memory_bytes": Across.SUM,
    "process_open_fds": Across.SUM,
    "process_max_fds": Across.MIN,
}
"""How the library's own metrics of several processes become one. Their start is the last one's."""


class Metrics:
    """All metrics of a process.

    `gather` returns the values of all workers of the service, if this process is one of several.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, gather: Gather | None = None
    ) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.series = Series(self.registry)
        self.series.across |= OF_THE_PROCESS
        self.exposition = Exposition(self.registry, self.series.across, gather)
        self.http = HttpMetrics(self.series)
        self.vaults = VaultMetrics(self.series)
        self.submissions = SubmissionMetrics(self.series)
        self.operator = OperatorMetrics(self.series)
        self.rpc = RpcMetrics(self.series)
        self.indexing = IndexingMetrics(self.series)
        self.reconciliation = ReconciliationMetrics(self.series)
        self.database = PoolMetrics(self.series)
        self.disk = DiskMetrics(self.series)
        self.replicas = ReplicaMetrics(self.series)
        self.outbox = OutboxMetrics(self.series)
        self.websockets = WebSocketMetrics(self.series)
        self.webhooks = WebhookMetrics(self.series)
        self.tasks = TaskMetrics(self.series)
        self.alerts = AlertMetrics(self.series)
        self.service = ServiceMetrics(self.series)

    def end_term(self) -> None:
        """Forget what only the leader knows, once another process may be the leader."""
        self.indexing.gap.set(0)
        self.submissions.oldest_seconds.set(0)
        for gauge in (self.submissions.under_way, self.webhooks.endpoints):
            for values in list(gauge._metrics):  # the library does not list them otherwise
                gauge.labels(*values).set(0)
