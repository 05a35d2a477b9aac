"""Alert observations of what is silent: work that leaves no trace, and notices that do not come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cvms.nursery.alerts.rules import REOPEN_AFTER
from cvms.store.alerts.alerts import Observation, Severity
from cvms.store.alerts.silence import Traces

LEADER_SECONDS = 60.0
"""Without a leader; another replica takes over within seconds."""
UNSIGNED_SECONDS = 300.0
"""Age of an entry of the audit trail without a signed head, which follows within seconds."""
SNAPSHOT_AGE = timedelta(hours=2, minutes=30)
"""Age of the last hourly snapshot. A healthy one is written some minutes after its hour."""
SNAPSHOT_SECONDS = 900.0
"""How long an old snapshot may be the last: a writer that fills a long pause moves all the time."""


@dataclass(frozen=True, slots=True)
class LastSnapshot:
    """The last snapshot, and since when this process has seen no other, in trio's time."""

    at: datetime | None
    since: float


def silence_observations(
    traces: Traces, last: LastSnapshot, *, started: float, now: float
) -> list[Observation]:
    """Return an observation for each kind of work that has left no trace for too long.

    What was left undone before this process `started` gets as much time again.
    """
    found = []
    if (away := traces.without_leader) is not None and min(away, now - started) >= LEADER_SECONDS:
        summary = (
            f"No replica has led for {away:.0f} seconds: nothing is indexed, sent or reconciled"
        )
        details = {"seconds": round(away), "last_leader": traces.last_leader}
        found.append(_observation("leader_absent", Severity.CRITICAL, summary, details))
    if (age := traces.unsigned_for) is not None and min(age, now - started) >= UNSIGNED_SECONDS:
        summary = f"An entry of the audit trail has had no signed head for {age:.0f} seconds"
        found.append(
            _observation("audit_unsigned", Severity.CRITICAL, summary, {"seconds": round(age)})
        )
    at = traces.snapshot_at
    if at and traces.now - at >= SNAPSHOT_AGE and now - last.since >= SNAPSHOT_SECONDS:
        summary = f"The last snapshot of balances is that of {at.isoformat()}"
        found.append(
            _observation("snapshots_overdue", Severity.WARNING, summary, {"at": at.isoformat()})
        )
    return found


def deaf_observation(reason: str) -> Observation:
    """Return the observation that the indexer gets no notices from the nodes."""
    summary = f"The indexer gets no notices of transactions, and only polls: {reason}"
    return _observation("subscription_silent", Severity.WARNING, summary, {"reason": reason})


def _observation(
    kind: str, severity: Severity, summary: str, details: Mapping[str, object]
) -> Observation:
    return Observation(
        kind=kind,
        subject=kind,
        severity=severity,
        summary=summary,
        details=details,
        away=REOPEN_AFTER,
    )
