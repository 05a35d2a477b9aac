"""Alert observations of changes on the chain that no transaction of this service has made."""

from __future__ import annotations

from cvms.store.alerts.alerts import Observation, Severity
from cvms.store.alerts.foreign_changes import KIND_OF, ForeignTransfers
from cvms.store.alerts.program_events import ProgramEvent

CHANGES = {
    "AuthorizedProgramAddedEvent": "{program} was listed as an authorized program",
    "AuthorizedProgramRemovedEvent": "{program} was removed from the authorized programs",
    "YieldProgramAddedEvent": "{program} was listed as a yield program",
    "YieldProgramRemovedEvent": "{program} was removed from the yield programs",
    "FreezeFlagSetEvent": "The freeze flag was set to {freeze}",
    "CpiEnforcedSetEvent": "The enforcement of calls by programs was set to {cpi_enforced}",
    "RiskLevelSetEvent": "The risk level was set to {risk_level}",
    "UpdateUsdtMintEvent": "The mint of a vault was changed to {new_mint}",
}


def change_observation(event: ProgramEvent) -> Observation:
    """Return the observation that somebody else has changed a rule of the program."""
    change = CHANGES[event.name].format_map(event.data)
    return Observation(
        kind=KIND_OF[event.name],
        subject=event.subject,
        owner=event.owner,
        severity=Severity.CRITICAL,
        summary=f"{change}, in a transaction that is not of this service",
        details=event.data
        | {
            "event": event.name,
            "signature": event.signature,
            "slot": event.slot,
            "block_time": None if event.block_time is None else event.block_time.isoformat(),
        },
        slot=event.slot,
        signature=event.signature,
    )


def transfers_observation(row: ForeignTransfers) -> Observation:
    """Return the observation that somebody else has transferred an owner's collateral."""
    return Observation(
        kind="foreign_transfer",
        subject=row.owner,
        owner=row.owner,
        severity=Severity.CRITICAL,
        summary=(
            f"{row.amount} units of an owner's collateral were transferred to other vaults, in "
            f"{row.transfers} transfers that are not of this service"
        ),
        details={
            "vault": row.vault,
            "amount": row.amount,
            "transfers": row.transfers,
            "signature": row.signature,
            "slot": row.slot,
            "block_time": row.block_time.isoformat(),
        },
        slot=row.slot,
        signature=row.signature,
    )
