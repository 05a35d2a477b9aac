"""Alert observations about governance, guards, exits and pauses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from solders.pubkey import Pubkey

from cvms.nursery.alerts.rules import REOPEN_AFTER
from cvms.store.alerts.alerts import Observation, Severity
from cvms.store.alerts.program_events import ALERT_OF, ProgramEvent, RequestedExit

NOBODY = str(Pubkey.default())


def event_observation(event: ProgramEvent) -> Observation:
    """Return the observation of an event that has an alert of its own."""
    severity, summary = _finding(event.name, event.data)
    return Observation(
        kind=ALERT_OF[event.name],
        subject=event.subject,
        owner=event.owner,
        severity=severity,
        summary=summary,
        details=_details(event),
        slot=event.slot,
        signature=event.signature,
    )


def exit_observation(row: RequestedExit) -> Observation:
    """Return the observation that an owner has requested an exit."""
    return Observation(
        kind="exit_requested",
        subject=row.owner,
        owner=row.owner,
        severity=Severity.INFO,
        summary=f"An exit was requested, in effect from {_time(row.exit_at)} for seven days",
        details={"vault": row.vault, "exit_at": row.exit_at},
        slot=row.slot,
    )


def pause_observation(event: ProgramEvent) -> Observation:
    """Return the observation that withdrawals are paused."""
    return Observation(
        kind="withdrawals_paused",
        subject="withdrawals",
        severity=Severity.WARNING,
        summary=f"Withdrawals are paused until {_time(event.data['paused_until'])}",
        details=_details(event),
        slot=event.slot,
        signature=event.signature,
        away=REOPEN_AFTER,
    )


def _finding(name: str, data: dict[str, Any]) -> tuple[Severity, str]:
    match name:
        case "GovernanceProposedEvent" if data["proposed"] == NOBODY:
            return Severity.CRITICAL, f"{data['authority']} withdrew the proposed governance"
        case "GovernanceProposedEvent":
            summary = f"{data['authority']} proposed {data['proposed']} as governance"
            return Severity.CRITICAL, summary
        case "GovernanceAcceptedEvent":
            return Severity.CRITICAL, f"{data['new_governance']} is governance now"
        case "TransferLimitsSetEvent" if data["pending_at"] == 0:
            return Severity.INFO, "The limits of transfers between vaults were set or lowered"
        case "TransferLimitsSetEvent":
            when = _time(data["pending_at"])
            return Severity.WARNING, f"Transfers between vaults get higher limits from {when} on"
    summary = f"A guard of the vault may be loosened from {_time(data['executable_at'])} on"
    return Severity.WARNING, f"{summary}: {data['change']['kind']}"


def _details(event: ProgramEvent) -> dict[str, Any]:
    block_time = None if event.block_time is None else event.block_time.isoformat()
    return event.data | {
        "signature": event.signature,
        "slot": event.slot,
        "block_time": block_time,
    }


def _time(seconds: int | None) -> str:
    """Return a time of the chain as text; it is unknown if logs were truncated."""
    return (
        "an unknown time" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
    )
