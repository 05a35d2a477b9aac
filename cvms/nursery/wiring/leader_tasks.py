"""Tasks of which only the leader runs one, and what each of them is given."""

from __future__ import annotations

import ssl
from datetime import timedelta
from functools import partial

import httpx

from cvms.chain.transactions.priority_fees import PriorityFees
from cvms.chain.transactions.sponsorship_policy import FeeCaps
from cvms.chain.yields.sources import pools_among
from cvms.config.settings import Config
from cvms.nursery.delivery.event_webhooks import EventWebhooks
from cvms.nursery.delivery.leader_notifications import LeaderNotifications
from cvms.nursery.delivery.webhook_dispatcher import (
    AlertsQueue,
    DeliveryQueue,
    EndpointsQueue,
    SignersQueue,
    WebhookDispatcher,
)
from cvms.nursery.indexing.finalized_recheck import FinalizedRecheck
from cvms.nursery.indexing.finalizer import FINALIZE_SECONDS, Finalizer
from cvms.nursery.indexing.indexer import Indexer
from cvms.nursery.reconciliation.reconciler import Reconciler
from cvms.nursery.scheduled.audit_head_signer import AuditHeadSigner
from cvms.nursery.scheduled.auto_compound import AutoCompounder
from cvms.nursery.scheduled.balance_snapshots import SNAPSHOT_SECONDS, SnapshotWriter
from cvms.nursery.scheduled.proof_publisher import CHECK_SECONDS, ProofPublisher
from cvms.nursery.scheduled.retention import RETENTION_SECONDS, Retention
from cvms.nursery.scheduled.timelock_notices import TimelockScheduler
from cvms.nursery.scheduled.timelock_releases import TimelockReleaser
from cvms.nursery.scheduled.totals_publisher import TotalsPublisher
from cvms.nursery.scheduled.yield_rate_poller import YieldRatePoller
from cvms.nursery.submission.operator_submissions import OperatorSubmitter
from cvms.nursery.submission.submitter import Submitter
from cvms.nursery.supervision.supervisor import periodic_task
from cvms.nursery.wiring.resources import Resources, TaskFunction
from cvms.signing.audit_signer import audit_signers
from cvms.signing.operator_key import OperatorKey
from cvms.store.alerts.lifecycle import alert_webhook
from cvms.store.security.encryption import SecretBox
from cvms.store.submissions.fee_budget import FeeBudget

LEADER_TASKS = (
    "indexer",
    "reconciler",
    "submitter",
    "balances",
    "snapshots",
    "settler",
    "audit_heads",
    "proofs",
    "retention",
    "webhooks",
    "alert_webhooks",
    "endpoint_messages",
    "event_webhooks",
    "timelocks",
    "yield_rates",
    "compounding",
    "calls",
)
"""The names of the leader's tasks, for replicas that do not lead yet."""
TIMED_TASKS = (
    "indexer",
    "reconciler",
    "submitter",
    "balances",
    "snapshots",
    "settler",
    "audit_heads",
    "proofs",
    "retention",
    "webhooks",
    "alert_webhooks",
    "endpoint_messages",
    "yield_rates",
)
"""Those of them that record how long each run takes; one of the reconciler is a pass."""


def leader_task_names(config: Config) -> list[str]:
    """Return the names of the tasks that a leader with these settings runs."""
    return [name for name in LEADER_TASKS if name != "alert_webhooks" or config.alerts.webhooks]


def leader_tasks(resources: Resources) -> list[tuple[str, TaskFunction]]:
    """Build the leader's tasks, with the names that the status board shows. Called once a term."""
    config = resources.config
    indexer = build_indexer(resources)
    operator = build_operator_submitter(resources)
    rates = build_yield_rate_poller(resources)
    tls = httpx.create_ssl_context()
    secret_box = SecretBox(config.data_encryption_keys)
    signers, single = SignersQueue(secret_box=secret_box), EndpointsQueue(secret_box=secret_box)
    alerts = [AlertsQueue(url=url, secret=secret) for url, secret in config.alerts.webhooks]
    periodic = partial(periodic_task, resources.board, metrics=resources.metrics)
    return [
        ("indexer", indexer.run),
        ("reconciler", build_reconciler(resources).run),
        ("submitter", build_submitter(resources).run),
        ("balances", build_totals_publisher(resources).run),
        periodic("snapshots", SNAPSHOT_SECONDS, _snapshot_writer(resources).run_once),
        periodic("settler", FINALIZE_SECONDS, build_finalizer(resources, indexer).run_once),
        ("audit_heads", build_audit_head_signer(resources).run),
        periodic("proofs", CHECK_SECONDS, build_proof_publisher(resources, operator).run_once),
        periodic("retention", RETENTION_SECONDS, Retention(database=resources.database).run_once),
        ("webhooks", _webhook_dispatcher(resources, signers, tls).run),
        *[("alert_webhooks", _webhook_dispatcher(resources, queue, tls).run) for queue in alerts],
        ("endpoint_messages", _webhook_dispatcher(resources, single, tls).run),
        ("event_webhooks", build_event_webhooks(resources, tls).run),
        ("timelocks", build_timelock_scheduler(resources, operator).run),
        periodic("yield_rates", config.yield_rates_seconds, rates.run_once),
        ("compounding", build_auto_compounder(resources, operator).run),
        ("calls", _leader_notifications(resources).run),
    ]


def build_audit_head_signer(resources: Resources) -> AuditHeadSigner:
    return AuditHeadSigner(
        database=resources.database,
        signers=audit_signers(resources.signers),
        board=resources.board,
        metrics=resources.metrics,
    )


def build_proof_publisher(resources: Resources, operator: OperatorSubmitter) -> ProofPublisher:
    return ProofPublisher(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        pools=pools_among(resources.yield_sources),
        signers=audit_signers(resources.signers),
        interval=timedelta(seconds=resources.config.proof_seconds),
        operator=operator if resources.config.proof_memo else None,
    )


def build_indexer(resources: Resources) -> Indexer:
    return Indexer(
        database=resources.database,
        rpc=resources.rpc,
        ws_urls=resources.config.ws_urls,
        programs=resources.programs,
        progress=resources.progress,
        indexed=resources.reconcile_queue.indexed,
        outbox_wake=resources.outbox_wake,
        tvl_wake=resources.tvl_wake,
        timelock_wake=resources.timelock_wake,
        board=resources.board,
        metrics=resources.metrics,
        traces=resources.traces,
    )


def build_reconciler(resources: Resources) -> Reconciler:
    return Reconciler(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        progress=resources.progress,
        reconciliations=resources.reconcile_queue,
        outbox_wake=resources.outbox_wake,
        interval=resources.config.reconciliation_interval,
        threshold=resources.config.reconciliation_threshold,
        hook=alert_webhook(resources.config.alerts.webhook_minimum),
        board=resources.board,
        metrics=resources.metrics,
    )


def build_submitter(resources: Resources) -> Submitter:
    return Submitter(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        is_deterministic=resources.signers.is_deterministic,
        wake=resources.submit_wake,
        outbox_wake=resources.outbox_wake,
        board=resources.board,
        metrics=resources.metrics,
        traces=resources.traces,
    )


def build_totals_publisher(resources: Resources) -> TotalsPublisher:
    return TotalsPublisher(
        database=resources.database,
        program=str(resources.programs.vault),
        wake=resources.tvl_wake,
        outbox_wake=resources.outbox_wake,
        interval=resources.config.balance_monitor_interval,
        board=resources.board,
        metrics=resources.metrics,
    )


def _snapshot_writer(resources: Resources) -> SnapshotWriter:
    return SnapshotWriter(
        database=resources.database,
        program=str(resources.programs.vault),
        max_lag_slots=resources.config.indexer_max_lag_slots,
        board=resources.board,
    )


def build_finalizer(resources: Resources, indexer: Indexer) -> Finalizer:
    return Finalizer(
        database=resources.database,
        rpc=resources.rpc,
        forks=indexer.forks,
        recheck=FinalizedRecheck(
            database=resources.database,
            rpc=resources.rpc,
            programs=resources.programs,
            outbox_wake=resources.outbox_wake,
        ),
    )


def _webhook_dispatcher(
    resources: Resources, queue: DeliveryQueue, context: ssl.SSLContext
) -> WebhookDispatcher:
    return WebhookDispatcher(
        metrics=resources.metrics,
        database=resources.database,
        queue=queue,
        private=resources.config.webhook_private_addresses,
        board=resources.board,
        context=context,
    )


def build_event_webhooks(resources: Resources, context: ssl.SSLContext) -> EventWebhooks:
    return EventWebhooks(
        database=resources.database,
        secret_box=SecretBox(resources.config.data_encryption_keys),
        hub=resources.hub,
        private=resources.config.webhook_private_addresses,
        context=context,
        board=resources.board,
        metrics=resources.metrics,
        traces=resources.traces,
    )


def _leader_notifications(resources: Resources) -> LeaderNotifications:
    return LeaderNotifications(
        database=resources.database,
        submit_wake=resources.submit_wake,
        reconcile_queue=resources.reconcile_queue,
        board=resources.board,
    )


def build_operator_submitter(resources: Resources) -> OperatorSubmitter:
    config = resources.config
    key = OperatorKey(
        signers=resources.signers,
        programs=resources.programs,
        caps=FeeCaps(lamports=config.operator_max_fee),
        budget=FeeBudget(owner=None, everybody=config.sponsoring.everybody_a_day),
    )
    return OperatorSubmitter(
        key=key,
        rpc=resources.rpc,
        fees=PriorityFees(resources.rpc, resources.metrics),
        programs=resources.programs,
        submit_wake=resources.submit_wake,
    )


def build_timelock_scheduler(
    resources: Resources, operator: OperatorSubmitter
) -> TimelockScheduler:
    releases = TimelockReleaser(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        operator=operator,
    )
    return TimelockScheduler(
        database=resources.database,
        rpc=resources.rpc,
        progress=resources.progress,
        notice_seconds=resources.config.timelock_notice_seconds,
        releases=releases if resources.config.timelock_release else None,
        wake=resources.timelock_wake,
        outbox_wake=resources.outbox_wake,
        board=resources.board,
    )


def build_yield_rate_poller(resources: Resources) -> YieldRatePoller:
    return YieldRatePoller(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        sources=resources.yield_sources,
    )


def build_auto_compounder(resources: Resources, operator: OperatorSubmitter) -> AutoCompounder:
    return AutoCompounder(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        operator=operator,
        pools=pools_among(resources.yield_sources),
        min_amount=resources.config.yield_compound_min_amount,
        interval=resources.config.yield_compound_seconds,
        board=resources.board,
    )
