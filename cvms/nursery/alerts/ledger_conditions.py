"""Alert observations of the ledger: withdrawals, balances, differences, submissions, webhooks."""

from __future__ import annotations

from collections.abc import Sequence

from cvms.nursery.alerts.rules import REOPEN_AFTER, Bounds, Withdrawal, findings
from cvms.store.alerts.alerts import Observation, Severity
from cvms.store.alerts.queries import (
    DifferenceRow,
    LowVault,
    MovementsRow,
    Quarantined,
    WithdrawalRow,
)
from cvms.store.messaging.webhooks.endpoints import EndpointRow


def withdrawal_observations(row: WithdrawalRow, bounds: Bounds, *, tvl: int) -> list[Observation]:
    """Return what the rules find about a withdrawal. `tvl` is the total value after it."""
    withdrawal = Withdrawal(
        amount=row.amount,
        emergency=row.emergency,
        earlier=row.earlier,
        within_hour=row.within_hour,
        tvl_before=tvl + row.amount,
    )
    common = {
        "vault": row.vault,
        "amount": row.amount,
        "signature": row.signature,
        "slot": row.slot,
        "block_time": None if row.block_time is None else row.block_time.isoformat(),
    }
    return [
        Observation(
            kind=finding.kind,
            subject=row.owner if finding.per_owner else withdrawal_subject(row),
            owner=row.owner,
            severity=finding.severity,
            summary=finding.summary,
            details=common | finding.details,
            slot=row.slot,
            signature=row.signature,
        )
        for finding in findings(withdrawal, bounds)
    ]


def withdrawal_subject(row: WithdrawalRow) -> str:
    """Return the subject of a withdrawal, which stays the same if it lands again after a fork."""
    return f"{row.signature}:{row.instruction_index}:{row.ordinal}"


def movements_observation(row: MovementsRow, bound: int) -> Observation:
    """Return the observation that an owner made more than `bound` movements within a minute."""
    return Observation(
        kind="rapid_movements",
        subject=row.owner,
        owner=row.owner,
        severity=Severity.WARNING,
        summary=f"More than {bound} movements within a minute",
        details={
            "vault": row.vault,
            "more_than": bound,
            "lines": row.lines,
            "signature": row.signature,
            "slot": row.slot,
            "block_time": row.block_time.isoformat(),
        },
        slot=row.slot,
        signature=row.signature,
    )


def low_balance_observation(row: LowVault, threshold: int) -> Observation:
    """Return the observation of a low vault, a warning if it secures open positions."""
    return Observation(
        kind="low_balance",
        subject=row.owner,
        owner=row.owner,
        severity=Severity.WARNING if row.locked else Severity.INFO,
        summary=f"The vault holds {row.total} units, less than {threshold}",
        details={
            "vault": row.vault,
            "total": row.total,
            "locked": row.locked,
            "threshold": threshold,
        },
        slot=row.slot,
    )


def difference_observations(rows: Sequence[DifferenceRow]) -> list[Observation]:
    """Return one observation for each vault's healed differences, and one for the others."""
    by_vault: dict[tuple[str, bool], list[DifferenceRow]] = {}
    for row in rows:
        by_vault.setdefault((row.owner, row.healed), []).append(row)
    return [_difference(group) for group in by_vault.values()]


def quarantine_observation(row: Quarantined) -> Observation:
    """Return the observation of a transaction whose outcome cannot be determined."""
    return Observation(
        kind="submission_quarantined",
        subject=row.signature,
        owner=row.owner,
        severity=Severity.CRITICAL,
        summary=f"It cannot be determined whether a {row.kind} has landed",
        details={"kind": row.kind, "amount": row.amount, "signature": row.signature},
        slot=row.slot or 0,
        signature=row.signature,
    )


def paused_webhook_observation(row: EndpointRow) -> Observation:
    """Return the observation of a webhook that is paused since it accepted nothing for a day."""
    whose = "an owner" if row.owner else "an integrator, for all vaults,"
    return Observation(
        kind="webhook_paused",
        subject=row.id,
        owner=row.owner,
        severity=Severity.INFO if row.owner else Severity.WARNING,
        summary=f"The webhook of {whose} is paused: {row.reason}",
        details={"reason": row.reason, "error": row.last_error},
        away=REOPEN_AFTER,
    )


def _difference(rows: Sequence[DifferenceRow]) -> Observation:
    first = rows[0]
    fields = sorted({row.field for row in rows})
    result = "were corrected" if first.healed else "could not be corrected"
    return Observation(
        kind="books_healed" if first.healed else "books_differ",
        subject=first.owner,
        owner=first.owner,
        severity=Severity.WARNING if first.healed else Severity.CRITICAL,
        summary=f"Fields of a vault differed from the chain and {result}: {', '.join(fields)}",
        details={
            "vault": first.vault,
            "differences": {
                row.field: {
                    "expected": row.expected,
                    "actual": row.actual,
                    "difference": row.difference,
                    "cause": row.cause,
                }
                for row in rows
            },
        },
        slot=first.chain_slot,
    )
