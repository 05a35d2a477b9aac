"""The tasks of which there must be one among all replicas, each with what it is given."""

from __future__ import annotations

from functools import partial

import httpx

from cvms.chain.types import Lamports
from cvms.chain.yields.sources import pools_among
from cvms.nursery.delivery.leader_notifications import LeaderNotifications
from cvms.nursery.delivery.webhook_dispatcher import AlertsQueue, SignersQueue, Webhooks
from cvms.nursery.indexing.finalized_recheck import FinalizedRecheck
from cvms.nursery.indexing.finalizer import Finalizer
from cvms.nursery.indexing.indexer import Indexer
from cvms.nursery.reconciliation.reconciler import Reconciler
from cvms.nursery.scheduled.auto_compound import Compounding
from cvms.nursery.scheduled.balance_snapshots import Snapshots
from cvms.nursery.scheduled.retention import Retention
from cvms.nursery.scheduled.timelock_notices import Timelocks
from cvms.nursery.scheduled.timelock_releases import Releases
from cvms.nursery.scheduled.totals_publisher import Balances
from cvms.nursery.scheduled.yield_rate_poller import YieldRates
from cvms.nursery.submission.operator_submissions import OperatorSubmitter
from cvms.nursery.submission.submitter import Submitter
from cvms.nursery.wiring.resources import Parts, Run
from cvms.store.security.encryption import Sealer
from cvms.store.submissions.fee_budget import Budget


def leader_tasks(parts: Parts) -> list[tuple[str, Run]]:
    """All of them, built anew for each term."""
    indexer = Indexer(
        database=parts.database,
        rpc=parts.rpc,
        ws_urls=parts.config.ws_urls,
        programs=parts.programs,
        progress=parts.progress,
        indexed=parts.reconciliations.indexed,
        outbox_wake=parts.outbox_wake,
        tvl_wake=parts.tvl_wake,
        timelock_wake=parts.timelock_wake,
        cache=parts.cache,
        board=parts.board,
        metrics=parts.metrics,
    )
    reconciler = Reconciler(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        progress=parts.progress,
        reconciliations=parts.reconciliations,
        outbox_wake=parts.outbox_wake,
        cache=parts.cache,
        interval=parts.config.reconciliation_interval,
        threshold=parts.config.reconciliation_threshold,
        board=parts.board,
        metrics=parts.metrics,
    )
    submitter = Submitter(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        wake=parts.submit_wake,
        outbox_wake=parts.outbox_wake,
        board=parts.board,
        metrics=parts.metrics,
    )
    balances = Balances(
        database=parts.database,
        program=str(parts.programs.vault),
        wake=parts.tvl_wake,
        outbox_wake=parts.outbox_wake,
        interval=parts.config.balance_monitor_interval,
        board=parts.board,
        metrics=parts.metrics,
    )
    snapshots = Snapshots(
        database=parts.database,
        program=str(parts.programs.vault),
        max_lag_slots=parts.config.indexer_max_lag_slots,
        board=parts.board,
    )
    recheck = FinalizedRecheck(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        outbox_wake=parts.outbox_wake,
        cache=parts.cache,
    )
    finalizer = Finalizer(
        database=parts.database,
        rpc=parts.rpc,
        forks=indexer.forks,
        recheck=recheck,
        board=parts.board,
    )
    retention = Retention(database=parts.database, board=parts.board)
    calls = LeaderNotifications(
        database=parts.database,
        submit_wake=parts.submit_wake,
        reconciliations=parts.reconciliations,
        board=parts.board,
    )
    webhooks = partial(
        Webhooks,
        database=parts.database,
        private=parts.config.webhook_private_addresses,
        board=parts.board,
        context=httpx.create_ssl_context(),
    )
    signers = webhooks(queue=SignersQueue(Sealer(parts.config.data_encryption_keys)))
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
            for url, secret in parts.config.alerts.webhooks
        ],
        ("timelocks", _timelocks(parts).run),
        ("yield_rates", _yield_rates(parts).run),
        ("compounding", _compounding(parts).run),
        ("calls", calls.run),
    ]


def _operator(parts: Parts) -> OperatorSubmitter:
    return OperatorSubmitter(
        key=parts.config.operator,
        rpc=parts.rpc,
        programs=parts.programs,
        max_fee=Lamports(parts.config.operator_max_fee),
        budget=Budget(owner=None, everybody=parts.config.sponsoring.everybody_a_day),
        submit_wake=parts.submit_wake,
    )


def _timelocks(parts: Parts) -> Timelocks:
    releases = Releases(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        operator=_operator(parts),
    )
    return Timelocks(
        database=parts.database,
        rpc=parts.rpc,
        progress=parts.progress,
        notice_seconds=parts.config.timelock_notice_seconds,
        releases=releases if parts.config.timelock_release else None,
        wake=parts.timelock_wake,
        outbox_wake=parts.outbox_wake,
        board=parts.board,
    )


def _yield_rates(parts: Parts) -> YieldRates:
    return YieldRates(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        sources=parts.yield_sources,
        interval=parts.config.yield_rates_seconds,
        board=parts.board,
    )


def _compounding(parts: Parts) -> Compounding:
    return Compounding(
        database=parts.database,
        rpc=parts.rpc,
        programs=parts.programs,
        operator=_operator(parts),
        pools=pools_among(parts.yield_sources),
        least=parts.config.yield_compound_min_amount,
        interval=parts.config.yield_compound_seconds,
        board=parts.board,
    )
