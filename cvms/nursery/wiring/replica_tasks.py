"""The tasks that every replica runs, each with what it is given."""

from __future__ import annotations

from cvms.nursery.alerts.monitor import Monitor
from cvms.nursery.alerts.operator_balance import OperatorBalance
from cvms.nursery.alerts.rules import bounds_of
from cvms.nursery.delivery.account_watcher import Accounts
from cvms.nursery.delivery.broadcaster import Broadcaster
from cvms.nursery.supervision.readiness_probe import ReadinessProbe
from cvms.nursery.wiring.resources import Parts, Run
from cvms.store.alerts.lifecycle import hook_of


def replica_tasks(parts: Parts) -> list[tuple[str, Run]]:
    """Those that need the schema."""
    return [
        ("broadcaster", _broadcaster(parts).run),
        ("operator_balance", _operator_balance(parts).run),
        ("monitor", _monitor(parts).run),
    ]


def accounts(parts: Parts) -> Accounts:
    """It only needs the chain."""
    return Accounts(
        rpc=parts.rpc,
        ws_urls=parts.config.ws_urls,
        registry=parts.accounts,
        board=parts.board,
        metrics=parts.metrics,
    )


def health(parts: Parts) -> ReadinessProbe:
    """The one that does not: it says whether the database is there."""
    return ReadinessProbe(
        database=parts.database,
        rpc=parts.rpc,
        progress=parts.progress,
        max_lag_slots=parts.config.indexer_max_lag_slots,
        board=parts.board,
        metrics=parts.metrics,
    )


def _broadcaster(parts: Parts) -> Broadcaster:
    return Broadcaster(
        database=parts.database,
        hub=parts.hub,
        wake=parts.outbox_wake,
        notifier=parts.outbox_notifier,
        board=parts.board,
    )


def _operator_balance(parts: Parts) -> OperatorBalance:
    return OperatorBalance(
        database=parts.database,
        rpc=parts.rpc,
        operator=parts.config.operator.pubkey(),
        funds=parts.operator_funds,
        board=parts.board,
        metrics=parts.metrics,
    )


def _monitor(parts: Parts) -> Monitor:
    config = parts.config
    return Monitor(
        database=parts.database,
        operator=config.operator.pubkey(),
        funds=parts.operator_funds,
        hub=parts.hub,
        progress=parts.progress,
        outbox_wake=parts.outbox_wake,
        bounds=bounds_of(config.alerts, dust=config.low_balance_threshold),
        low_balance=config.low_balance_threshold,
        fee_payer_minimum=config.alerts.fee_payer_minimum_lamports,
        hook=hook_of(config.alerts),
        board=parts.board,
        metrics=parts.metrics,
    )
