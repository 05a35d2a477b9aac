"""The tasks of which there must be one among all replicas, each with what it is given."""

from __future__ import annotations

from functools import partial

import httpx

from cvms.chain.types import Lamports
from cvms.chain.yields.sources import pools_among
from cvms.nursery.delivery.leader_notifications import LeaderNotifications
from cvms.nursery.delivery.webhook_dispatcher import AlertsQueue, SignersQueue, WebhookDispatcher
from cvms.nursery.indexing.finalized_recheck import FinalizedRecheck
from cvms.nursery.indexing.finalizer import Finalizer
from cvms.nursery.indexing.indexer import Indexer
from cvms.nursery.reconciliation.reconciler import Reconciler
from cvms.nursery.scheduled.auto_compound import AutoCompounder
from cvms.nursery.scheduled.balance_snapshots import SnapshotWriter
from cvms.nursery.scheduled.retention import Retention
from cvms.nursery.scheduled.timelock_notices import TimelockScheduler
from cvms.nursery.scheduled.timelock_releases import TimelockReleaser
from cvms.nursery.scheduled.totals_publisher import TotalsPublisher
from cvms.nursery.scheduled.yield_rate_poller import YieldRatePoller
from cvms.nursery.submission.operator_submissions import OperatorSubmitter
from cvms.nursery.submission.submitter import Submitter
from cvms.nursery.wiring.resources import Resources, TaskFunction
from cvms.store.security.encryption import SecretBox
from cvms.store.submissions.fee_budget import FeeBudget


def leader_tasks(resources: Resources) -> list[tuple[str, TaskFunction]]:
    """All of them, built anew for each term."""
    indexer = Indexer(
        database=resources.database,
        rpc=resources.rpc,
        ws_urls=resources.config.ws_urls,
        programs=resources.programs,
        progress=resources.progress,
        indexed=resources.reconcile_queue.indexed,
        outbox_wake=resources.outbox_wake,
        tvl_wake=resources.tvl_wake,
        timelock_wake=resources.timelock_wake,
        cache=resources.cache,
        board=resources.board,
        metrics=resources.metrics,
    )
    reconciler = Reconciler(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        progress=resources.progress,
        reconciliations=resources.reconcile_queue,
        outbox_wake=resources.outbox_wake,
        cache=resources.cache,
        interval=resources.config.reconciliation_interval,
        threshold=resources.config.reconciliation_threshold,
        board=resources.board,
        metrics=resources.metrics,
    )
    submitter = Submitter(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        wake=resources.submit_wake,
        outbox_wake=resources.outbox_wake,
        board=resources.board,
        metrics=resources.metrics,
    )
    balances = TotalsPublisher(
        database=resources.database,
        program=str(resources.programs.vault),
        wake=resources.tvl_wake,
        outbox_wake=resources.outbox_wake,
        interval=resources.config.balance_monitor_interval,
        board=resources.board,
        metrics=resources.metrics,
    )
    snapshots = SnapshotWriter(
        database=resources.database,
        program=str(resources.programs.vault),
        max_lag_slots=resources.config.indexer_max_lag_slots,
        board=resources.board,
    )
    recheck = FinalizedRecheck(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        outbox_wake=resources.outbox_wake,
        cache=resources.cache,
    )
    finalizer = Finalizer(
        database=resources.database,
        rpc=resources.rpc,
        forks=indexer.forks,
        recheck=recheck,
        board=resources.board,
    )
    retention = Retention(database=resources.database, board=resources.board)
    calls = LeaderNotifications(
        database=resources.database,
        submit_wake=resources.submit_wake,
        reconcile_queue=resources.reconcile_queue,
        board=resources.board,
    )
    webhooks = partial(
        WebhookDispatcher,
        database=resources.database,
        private=resources.config.webhook_private_addresses,
        board=resources.board,
        context=httpx.create_ssl_context(),
    )
    signers = webhooks(queue=SignersQueue(SecretBox(resources.config.data_encryption_keys)))
    return [
        ("indexer", indexer.run),
        ("reconciler", reconciler.run),
        ("submitter", submitter.run),
        ("balances", balances.run),
        ("snapshots", snapshots.run),
        ("settler", finalizer.run),
        ("retention", retention.run),
        ("webhooks", signers.run),
        *[
            ("alert_webhooks", webhooks(queue=AlertsQueue(url=url, secret=secret)).run)
            for url, secret in resources.config.alerts.webhooks
        ],
        ("timelocks", _timelocks(resources).run),
        ("yield_rates", _yield_rates(resources).run),
        ("compounding", _compounding(resources).run),
        ("calls", calls.run),
    ]


def _operator(resources: Resources) -> OperatorSubmitter:
    return OperatorSubmitter(
        key=resources.config.operator,
        rpc=resources.rpc,
        programs=resources.programs,
        max_fee=Lamports(resources.config.operator_max_fee),
        budget=FeeBudget(owner=None, everybody=resources.config.sponsoring.everybody_a_day),
        submit_wake=resources.submit_wake,
    )


def _timelocks(resources: Resources) -> TimelockScheduler:
    releases = TimelockReleaser(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        operator=_operator(resources),
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


def _yield_rates(resources: Resources) -> YieldRatePoller:
    return YieldRatePoller(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        sources=resources.yield_sources,
        interval=resources.config.yield_rates_seconds,
        board=resources.board,
    )


def _compounding(resources: Resources) -> AutoCompounder:
    return AutoCompounder(
        database=resources.database,
        rpc=resources.rpc,
        programs=resources.programs,
        operator=_operator(resources),
        pools=pools_among(resources.yield_sources),
        min_amount=resources.config.yield_compound_min_amount,
        interval=resources.config.yield_compound_seconds,
        board=resources.board,
    )
