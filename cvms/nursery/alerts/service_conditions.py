"""What this process sees of itself and of what it depends on, as observations for the alerts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from cvms.nursery.alerts.rules import REOPEN_AFTER, fee_payer_severity
from cvms.nursery.channels.status_board import ComponentStatus
from cvms.nursery.channels.task_liveness import LivenessFault
from cvms.store.alerts.alerts import Observation, Severity

GRACE_PERIOD = timedelta(seconds=30)
"""Parts come and go for a moment, at a start above all: nobody is to be woken for that."""
MAX_ERROR_LENGTH = 500
"""Characters of an error that an alert shows."""


def component_observations(
    components: Mapping[str, ComponentStatus], *, gap: str | None, now: datetime
) -> list[Observation]:
    """The parts that have not been well for a while. `gap`: why the indexer cannot close one.

    A chain that is away says nothing about the indexer.
    """
    down = {
        name: part
        for name, part in components.items()
        if not part.ok and now - part.since >= GRACE_PERIOD
    }
    if "rpc" in down and gap is None:
        down.pop("indexer", None)
    return [_component_observation(name, part, gap=gap) for name, part in down.items()]


def task_observations(
    faults: Mapping[str, LivenessFault], last_errors: Mapping[str, str | None]
) -> list[Observation]:
    """The tasks that fail again and again, and those that nothing comes of."""
    return [
        Observation(
            kind=f"task_{trouble.kind}",
            subject=name,
            severity=Severity.CRITICAL,
            summary=f"The task {name} {trouble.detail}",
            details={"last_error": (last_errors.get(name) or "")[:MAX_ERROR_LENGTH] or None},
            away=REOPEN_AFTER,
        )
        for name, trouble in faults.items()
    ]


def fee_payer_observation(address: str, lamports: int, minimum: int) -> Observation:
    """The account that pays for everything is running out."""
    return Observation(
        kind="fee_payer_low",
        subject=address,
        severity=fee_payer_severity(lamports, minimum),
        summary=f"The account that pays fees holds {lamports} lamports of at least {minimum}",
        details={"lamports": lamports, "minimum": minimum},
        away=REOPEN_AFTER,
    )


def _component_observation(name: str, part: ComponentStatus, *, gap: str | None) -> Observation:
    kind, severity = "part_down", Severity.CRITICAL
    if name == "indexer":
        kind = "indexer_lag" if gap is None else "indexer_gap"
        severity = Severity.WARNING if gap is None else Severity.CRITICAL
    return Observation(
        kind=kind,
        subject=name,
        severity=severity,
        summary=f"The part {name} is not well: {part.detail}",
        details={"detail": part.detail, "since": part.since.isoformat()},
        away=REOPEN_AFTER,
    )
