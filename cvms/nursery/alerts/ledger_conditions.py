"""What the books show that somebody should look at, as observations for the alerts."""

from __future__ import annotations

from collections.abc import Sequence

from cvms.nursery.alerts.rules import Bounds, Withdrawal, findings
from cvms.store.alerts.alerts import Observation, Severity
from cvms.store.alerts.queries import DifferenceRow, LowVault, Quarantined, WithdrawalRow


def withdrawal_observations(row: WithdrawalRow, bounds: Bounds, *, tvl: int) -> list[Observation]:
    """All that the rules say of a withdrawal, `tvl` being what is left after it."""
    judged = Withdrawal(
        amount=row.amount,
        emergency=row.emergency,
        earlier=row.earlier,
        within_hour=row.within_hour,
        tvl_before=tvl + row.amount,
    )
    about = {
        "vault": row.vault,
        "amount": row.amount,
        "signature": row.signature,
        "slot": row.slot,
        "block_time": None if row.block_time is None else row.block_time.isoformat(),
    }
    return [
        Observation(
            kind=found.kind,
            subject=row.owner if found.per_owner else withdrawal_subject(row),
            owner=row.owner,
            severity=found.severity,
            summary=found.summary,
            details=about | found.details,
            slot=row.slot,
            signature=row.signature,
        )
        for found in findings(judged, bounds)
    ]


def withdrawal_subject(row: WithdrawalRow) -> str:
    """What a withdrawal is called, also when its transaction lands anew after a fork."""
    return f"{row.signature}:{row.instruction_index}:{row.ordinal}"


def low_balance_observation(row: LowVault, threshold: int) -> Observation:
    """A vault holds little; that matters more where positions lean on it."""
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
    """Vaults whose books differ from the chain, each once for what was healed and what was not."""
    of_vault: dict[tuple[str, bool], list[DifferenceRow]] = {}
    for row in rows:
        of_vault.setdefault((row.owner, row.healed), []).append(row)
    return [_difference(found) for found in of_vault.values()]


def quarantine_observation(row: Quarantined) -> Observation:
    """A transaction was sent and nobody can know what became of it."""
    return Observation(
        kind="submission_quarantined",
        subject=row.signature,
        owner=row.owner,
        severity=Severity.CRITICAL,
        summary=f"Nobody can know whether a {row.kind} has landed",
        details={"kind": row.kind, "amount": row.amount, "signature": row.signature},
        slot=row.slot or 0,
        signature=row.signature,
    )


def _difference(rows: Sequence[DifferenceRow]) -> Observation:
    first = rows[0]
    fields = sorted({row.field for row in rows})
    became = "were set right" if first.healed else "could not be set right"
    return Observation(
        kind="books_healed" if first.healed else "books_differ",
        subject=first.owner,
        owner=first.owner,
        severity=Severity.WARNING if first.healed else Severity.CRITICAL,
        summary=f"The books of a vault differed from the chain and {became}: {', '.join(fields)}",
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
