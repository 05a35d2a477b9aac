"""Tasks that every replica runs, and what each of them is given."""

from __future__ import annotations

from cvms.checks.deployment import DeploymentReader
from cvms.nursery.alerts.monitor import AlertMonitor
from cvms.nursery.alerts.operator_balance import BALANCE_SECONDS, OperatorBalanceMonitor
from cvms.nursery.alerts.rules import bounds_from
from cvms.nursery.delivery.account_watcher import AccountSubscriptions
from cvms.nursery.delivery.broadcaster import Broadcaster
from cvms.nursery.supervision.deployment_probe import DEPLOYMENT, DeploymentProbe
from cvms.nursery.supervision.instance_heartbeat import HEARTBEAT_SECONDS, InstanceHeartbeat
from cvms.nursery.supervision.readiness_probe import PROBE_SECONDS, ReadinessProbe
from cvms.nursery.supervision.signer_probe import PROBE_SECONDS as SIGNER_SECONDS
from cvms.nursery.supervision.signer_probe import SignerProbe
from cvms.nursery.supervision.supervisor import periodic_task
from cvms.nursery.wiring.resources import Resources, TaskFunction
from cvms.store.alerts.lifecycle import alert_webhook


def replica_tasks(resources: Resources) -> list[tuple[str, TaskFunction]]:
    """Build the tasks that need the database schema, with the names that the status board shows."""
    board, balance = resources.board, build_operator_balance_monitor(resources)
    heartbeat = InstanceHeartbeat(database=resources.database, board=board)
    return [
        ("broadcaster", build_broadcaster(resources).run),
        periodic_task(board, "operator_balance", BALANCE_SECONDS, balance.run_once),
        periodic_task(board, "instances", HEARTBEAT_SECONDS, heartbeat.run_once),
        ("monitor", build_alert_monitor(resources).run),
    ]


def schemaless_tasks(resources: Resources) -> list[tuple[str, TaskFunction]]:
    """Build the tasks that run before the schema is applied too."""
    probe, board, reader = build_readiness_probe(resources), resources.board, resources.reader
    tasks = [
        periodic_task(board, "health", PROBE_SECONDS, probe.probe),
        (DEPLOYMENT, build_deployment_probe(resources).run),
        ("accounts", _account_subscriptions(resources).run),
    ]
    if resources.signers.remote:
        signers = build_signer_probe(resources)
        tasks.append(periodic_task(board, "signers", SIGNER_SECONDS, signers.run_once))
    if reader.replicas:
        tasks.append(periodic_task(board, "read_replicas", PROBE_SECONDS, reader.check))
    return tasks


def _account_subscriptions(resources: Resources) -> AccountSubscriptions:
    return AccountSubscriptions(
        rpc=resources.rpc,
        ws_urls=resources.config.ws_urls,
        registry=resources.accounts,
        board=resources.board,
        metrics=resources.metrics,
    )


def build_readiness_probe(resources: Resources) -> ReadinessProbe:
    return ReadinessProbe(
        database=resources.database,
        reader=resources.reader,
        rpc=resources.rpc,
        progress=resources.progress,
        max_lag_slots=resources.config.indexer_max_lag_slots,
        board=resources.board,
        metrics=resources.metrics,
    )


def build_signer_probe(resources: Resources) -> SignerProbe:
    return SignerProbe(signers=resources.signers, board=resources.board, metrics=resources.metrics)


def build_deployment_probe(resources: Resources) -> DeploymentProbe:
    return DeploymentProbe(
        database=resources.database,
        reader=DeploymentReader(resources.rpc, resources.programs),
        operator=resources.signers.preferred.address,
        config=resources.config,
        board=resources.board,
    )


def build_broadcaster(resources: Resources) -> Broadcaster:
    return Broadcaster(
        database=resources.database,
        hub=resources.hub,
        replies=resources.replies,
        wake=resources.outbox_wake,
        notifier=resources.outbox_notifier,
        board=resources.board,
    )


def build_operator_balance_monitor(resources: Resources) -> OperatorBalanceMonitor:
    return OperatorBalanceMonitor(
        database=resources.database,
        rpc=resources.rpc,
        signers=resources.signers,
        metrics=resources.metrics,
    )


def build_alert_monitor(resources: Resources) -> AlertMonitor:
    config = resources.config
    return AlertMonitor(
        database=resources.database,
        signers=resources.signers,
        hub=resources.hub,
        progress=resources.progress,
        outbox_wake=resources.outbox_wake,
        bounds=bounds_from(config.alerts, dust=config.low_balance_threshold),
        low_balance=config.low_balance_threshold,
        fee_payer_minimum=config.alerts.fee_payer_minimum_lamports,
        hook=alert_webhook(config.alerts.webhook_minimum),
        board=resources.board,
        metrics=resources.metrics,
    )
