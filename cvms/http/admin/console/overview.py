"""Reading of the overview: what this process knows, and what the database has of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from psycopg import IsolationLevel

from cvms.chain.rpc.transport.endpoint_pool import FAILURES_BEFORE_DOWN
from cvms.chain.rpc.transport.endpoint_state import EndpointState
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.schemas import reply_of
from cvms.nursery.channels.operations_overview import (
    AlertCounts,
    ComponentState,
    EndpointReading,
    OperationsOverview,
    OperatorState,
    ServiceInstance,
    installed_revision,
    installed_version,
)
from cvms.nursery.channels.status_board import ComponentStatus
from cvms.signing.signer_set import SignerSet
from cvms.store.alerts import alerts
from cvms.store.index import cursor as cursors
from cvms.store.messaging import instances, leader_lease
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import in_flight
from cvms.store.vaults import vaults

SLOT_SECONDS = 0.4
"""The chain's aim; on average it is a little slower."""


async def read_overview(deps: Dependencies) -> OperationsOverview:
    """Return the overview as of now. Raises DatabaseUnavailable."""
    async with deps.database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
        locked = await vaults.tvl(conn)
        slot = await _indexed_slot(conn, str(deps.programs.vault))
        unresolved = await alerts.counts(conn)
        counts = await in_flight.count_by_state(conn)
        alive = await instances.alive(conn)
    chain_slot = deps.rpc.newest_slot or None
    return OperationsOverview(
        at=datetime.now(UTC),
        version=installed_version(),
        revision=installed_revision(),
        slot=slot,
        chain_slot=chain_slot,
        lag_seconds=_lag(slot, chain_slot),
        total_value_locked=locked.total,
        active_vaults=locked.vaults,
        components={name: _component(each) for name, each in deps.board.components.items()},
        checks=deps.board.checks.statuses(),
        warnings=dict(deps.board.warnings),
        operator=_operator(deps.operator.signers),
        alerts=_alert_counts(unresolved),
        submissions=_submission_counts(counts),
        endpoints=[_endpoint(each) for each in deps.rpc.endpoints],
        instances=[reply_of(each, ServiceInstance) for each in alive],
    )


async def _indexed_slot(conn: Connection, program: str) -> int | None:
    """Return the leader's slot, or without a leader the one that the last leader has stored."""
    report = await leader_lease.report(conn)
    if report is not None and report.slot is not None:
        return report.slot
    return (await cursors.frontier(conn, program)).slot


def _lag(slot: int | None, chain_slot: int | None) -> float | None:
    if slot is None or chain_slot is None:
        return None
    return round(max(0, chain_slot - slot) * SLOT_SECONDS, 1)


def _component(status: ComponentStatus) -> ComponentState:
    return ComponentState(
        status="ok" if status.ok else "failing",
        kind=status.kind,
        detail=status.detail,
        since=status.since,
    )


def _operator(signers: SignerSet) -> OperatorState:
    payer = signers.payer()
    shown = payer or signers.preferred
    return OperatorState(
        address=str(shown.address),
        lamports=shown.funds.lamports,
        minimum_lamports=shown.funds.minimum,
        pays=payer is not None,
    )


def _alert_counts(unresolved: Mapping[tuple[str, str], int]) -> AlertCounts:
    counts: Counter[str] = Counter()
    for (_, severity), count in unresolved.items():
        counts[severity] += count
    return AlertCounts(**counts)


def _submission_counts(counts: Iterable[in_flight.Count]) -> Mapping[str, int]:
    return dict.fromkeys(in_flight.COUNTED, 0) | {each.state: each.count for each in counts}


def _endpoint(state: EndpointState) -> EndpointReading:
    return EndpointReading(
        host=state.host,
        up=state.up,
        state=state.health.value,
        failures=state.failures,
        failures_before_down=FAILURES_BEFORE_DOWN,
        slot=state.slot,
        latency_seconds=state.latency,
    )
