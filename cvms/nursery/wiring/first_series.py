"""The series that exist from the start of a process, because their labels are known by then.

`increase()` and `rate()` of Prometheus miss the first change of a series that begins with it.
Where an endpoint, a route or a task is built, its series are declared there.
"""

from __future__ import annotations

import hashlib
import json
from importlib import metadata

from cvms.metrics import Metrics
from cvms.nursery.alerts.rules import RESOLVE_AFTER
from cvms.nursery.delivery.event_webhooks import STATES
from cvms.nursery.reconciliation.aggregate_check import HISTORY_SUMS, TVL, VAULT_SIZES
from cvms.nursery.reconciliation.comparison import FIELDS
from cvms.nursery.reconciliation.history_diff import EVENT, HISTORY_LINE
from cvms.nursery.wiring.leader_tasks import LEADER_TASKS, TIMED_TASKS
from cvms.nursery.wiring.resources import Resources
from cvms.store.alerts.alerts import Severity
from cvms.store.submissions import in_flight
from cvms.store.submissions.submissions import State

PACKAGE = "cvms"
UNKNOWN = "unknown"
REVISION_LENGTH = 12

OTHER_ALERTS = (
    "books_differ",
    "exit_requested",
    "foreign_freeze",
    "foreign_mint",
    "foreign_program_list",
    "foreign_protection",
    "foreign_transfer",
    "governance_accepted",
    "governance_proposed",
    "guard_change_requested",
    "low_balance",
    "operator_signer",
    "submission_quarantined",
)
"""Kinds of alerts that do not end by the time since they were observed."""
HEALED_FIELDS = (HISTORY_SUMS, EVENT, HISTORY_LINE)
"""What is written again wherever it differs."""


def start_series(resources: Resources) -> None:
    """Show at 0 what a process has whatever its settings, and its keys and replicas."""
    metrics = resources.metrics
    _start_books(metrics)
    kinds = (*RESOLVE_AFTER, *OTHER_ALERTS)
    metrics.series.start_at_zero(metrics.alerts.open, kind=kinds, severity=tuple(Severity))
    metrics.series.start_at_zero(metrics.webhooks.endpoints, state=STATES)
    metrics.series.start_at_zero(metrics.tasks.restarts, task=LEADER_TASKS)
    metrics.series.start_at_zero(metrics.tasks.run_seconds, task=(*TIMED_TASKS, "monitor"))
    metrics.series.start_at_zero(metrics.replicas.reads, server=("primary", *_replicas(resources)))
    for gauge in (metrics.replicas.up, metrics.replicas.slot, metrics.replicas.lag):
        metrics.series.start_at_zero(gauge, replica=_replicas(resources))
    for each in resources.signers.signers:  # those outside the process are probed
        metrics.operator.signer_available.labels(str(each.address)).set(each.available)
    metrics.service.build_info.labels(*read_build()).set(1)


def _start_books(metrics: Metrics) -> None:
    states = [state for state in State if state is not State.BUILT]
    metrics.series.start_at_zero(metrics.submissions.states, state=states)
    metrics.series.start_at_zero(metrics.submissions.under_way, state=in_flight.COUNTED)
    differences = metrics.reconciliation.differences
    metrics.series.start_at_zero(
        differences, field=(*FIELDS, VAULT_SIZES, TVL), healed=("true", "false")
    )
    metrics.series.start_at_zero(differences, field=HEALED_FIELDS, healed=("true",))


def _replicas(resources: Resources) -> list[str]:
    return [str(each.number) for each in resources.reader.replicas]


def read_build() -> tuple[str, str]:
    """Return the version of the installed package, and what tells its builds apart.

    That is the start of the digest of the list of its files, or `checkout` for sources in place.
    """
    try:
        installed = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return UNKNOWN, "checkout"
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        return installed.version, "checkout"
    files = installed.read_text("RECORD") or ""
    return installed.version, hashlib.sha256(files.encode()).hexdigest()[:REVISION_LENGTH]
