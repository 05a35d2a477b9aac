"""Alert observations of this process: its components, tasks, checks and fee payer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from cvms.checks.finding import Finding
from cvms.nursery.alerts.rules import REOPEN_AFTER, fee_payer_severity
from cvms.nursery.channels.status_board import ComponentStatus
from cvms.nursery.channels.task_liveness import LivenessFault
from cvms.store.alerts.alerts import Observation, Severity

GRACE_PERIOD = timedelta(seconds=30)
"""Components fail for moments, above all at start-up, which deserves no alert."""
CRITICAL_DANGERS = frozenset({"program_differs"})
"""Whoever can replace a program can take everything."""
MAX_ERROR_LENGTH = 500
"""Characters of an error that an alert contains."""


def component_observations(
    components: Mapping[str, ComponentStatus], *, gap: str | None, now: datetime
) -> list[Observation]:
    """Return the components that have been down for the grace period.

    `gap`: why the indexer cannot close a gap. While the chain is unavailable, the deployment is not
    reported, nor the indexer, unless it has a gap.
    """
    down = {
        name: component
        for name, component in components.items()
        if not component.ok and now - component.since >= GRACE_PERIOD
    }
    if "rpc" in down:
        down.pop("deployment", None)
        if gap is None:
            down.pop("indexer", None)
    return [_component_observation(name, component, gap) for name, component in down.items()]


def task_observations(
    faults: Mapping[str, LivenessFault], last_errors: Mapping[str, str | None]
) -> list[Observation]:
    """Return an observation for each task in a crash loop or stalled."""
    return [
        Observation(
            kind=f"task_{fault.kind}",
            subject=name,
            severity=Severity.CRITICAL,
            summary=f"The task {name} {fault.detail}",
            details={"last_error": (last_errors.get(name) or "")[:MAX_ERROR_LENGTH] or None},
            away=REOPEN_AFTER,
        )
        for name, fault in faults.items()
    ]


def check_observations(overdue: Mapping[str, str]) -> list[Observation]:
    """Return an observation for each kind of check that is overdue, with the given reasons."""
    return [
        Observation(
            kind="books_unchecked",
            subject=name,
            severity=Severity.CRITICAL,
            summary=f"The check {name} {reason}"[:MAX_ERROR_LENGTH],
            details={"reason": reason[:MAX_ERROR_LENGTH]},
            away=REOPEN_AFTER,
        )
        for name, reason in overdue.items()
    ]


def warning_observations(warnings: Mapping[str, str]) -> list[Observation]:
    """Return an observation for each warning of the board, whose name is the kind."""
    return [
        Observation(
            kind=name,
            subject=name,
            severity=Severity.CRITICAL,
            summary=f"{name}: {detail}"[:MAX_ERROR_LENGTH],
            details={"detail": detail[:MAX_ERROR_LENGTH]},
            away=REOPEN_AFTER,
        )
        for name, detail in warnings.items()
    ]


def danger_observations(dangers: Iterable[Finding]) -> list[Observation]:
    """Return an observation for each danger that the checks have found."""
    return [
        Observation(
            kind=each.kind,
            subject=each.subject or each.kind,
            severity=Severity.CRITICAL if each.kind in CRITICAL_DANGERS else Severity.WARNING,
            summary=f"{each.seen}; {each.advice}"[:MAX_ERROR_LENGTH],
            details={"check": each.check, "seen": each.seen, "advice": each.advice},
            away=REOPEN_AFTER,
        )
        for each in dangers
    ]


def fee_payer_observation(address: str, lamports: int, minimum: int) -> Observation:
    """Return the observation that the account that pays fees is running out of lamports."""
    return Observation(
        kind="fee_payer_low",
        subject=address,
        severity=fee_payer_severity(lamports, minimum),
        summary=f"The account that pays fees holds {lamports} lamports; its minimum is {minimum}",
        details={"lamports": lamports, "minimum": minimum},
        away=REOPEN_AFTER,
    )


def _component_observation(name: str, status: ComponentStatus, gap: str | None) -> Observation:
    kind, severity = "part_down", Severity.CRITICAL
    if name == "indexer":
        kind = "indexer_lag" if gap is None else "indexer_gap"
        severity = Severity.WARNING if gap is None else Severity.CRITICAL
    return Observation(
        kind=kind,
        subject=name,
        severity=severity,
        summary=f"The component {name} is not ready: {status.detail}",
        details={"detail": status.detail, "since": status.since.isoformat()},
        away=REOPEN_AFTER,
    )
