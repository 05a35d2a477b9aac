"""Alert rules on plain values, as documented in docs/alerts.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median_high
from typing import Any

from cvms.config.alert_settings import AlertSettings
from cvms.store.alerts.alerts import Severity

PERCENT = 100
MIN_SAMPLES = 5
"""Earlier withdrawals without which none is called unusual."""
RECOVERED_PERCENT = 120
"""Percentage of a lower bound at which an alert about it ends, so that it does not flap."""
CRITICAL_FRACTION = 5
"""The alert is critical below this fraction, a fifth, of the fee payer's minimum."""
REOPEN_AFTER = timedelta(seconds=40)
"""A condition that reappears after this long counts as a new occurrence."""

# How long after the last observation an alert is resolved. A condition is observed by every run
# while it lasts; an event is observed once, and stays visible for a while.
RESOLVE_AFTER = {
    "large_withdrawal": timedelta(days=1),
    "emergency_withdrawal": timedelta(days=1),
    "unusual_withdrawal": timedelta(days=1),
    "rapid_withdrawals": timedelta(hours=1),
    "rapid_movements": timedelta(minutes=10),
    "settlement_forced": timedelta(days=1),
    "books_healed": timedelta(hours=1),
    "books_unchecked": timedelta(seconds=60),
    "audit_trail": timedelta(seconds=60),
    "alert_webhook": timedelta(seconds=60),
    "webhook_paused": timedelta(seconds=60),
    "transfer_limits_changed": timedelta(days=1),
    "withdrawals_paused": timedelta(seconds=60),
    "admin_act_requested": timedelta(hours=1),
    "admin_act_executed": timedelta(days=1),
    "admin_act_refused": timedelta(days=1),
    "fee_payer_low": timedelta(seconds=60),
    "clock_differs": timedelta(seconds=60),
    "database_not_durable": timedelta(seconds=60),
    "governance_is_operator": timedelta(seconds=60),
    "listed_program_missing": timedelta(seconds=60),
    "program_differs": timedelta(seconds=60),
    "transfer_limits_off": timedelta(seconds=60),
    "upgrade_authority_is_governance": timedelta(seconds=60),
    "upgrade_authority_is_operator": timedelta(seconds=60),
    "indexer_lag": timedelta(seconds=60),
    "indexer_gap": timedelta(seconds=60),
    "part_down": timedelta(seconds=60),
    "task_crash_loop": timedelta(seconds=60),
    "task_stalled": timedelta(seconds=60),
    "leader_absent": timedelta(seconds=60),
    "audit_unsigned": timedelta(seconds=60),
    "snapshots_overdue": timedelta(seconds=60),
    "subscription_silent": timedelta(seconds=60),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of what is normal. Amounts are token units; 0 disables a rule."""

    large_amount: int
    large_percent: int
    unusual_factor: int
    withdrawals_per_hour: int
    movements_per_minute: int
    dust: int
    """Amounts below it are never unusual."""


def bounds_from(settings: AlertSettings, *, dust: int) -> Bounds:
    """Return the configured bounds."""
    return Bounds(
        large_amount=settings.large_withdrawal,
        large_percent=settings.large_withdrawal_percent,
        unusual_factor=settings.unusual_withdrawal_factor,
        withdrawals_per_hour=settings.withdrawals_per_hour,
        movements_per_minute=settings.movements_per_minute,
        dust=dust,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Input of the rules. `earlier` are amounts of the same owner, newest first."""

    amount: int
    emergency: bool
    earlier: Sequence[int]
    within_hour: int
    tvl_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Result of a rule. `per_owner`: repeated findings add up in one alert of the owner."""

    kind: str
    summary: str
    severity: Severity = Severity.WARNING
    details: dict[str, Any] = field(default_factory=dict)
    per_owner: bool = False


def findings(withdrawal: Withdrawal, bounds: Bounds) -> list[Finding]:
    """Return the findings of all rules, none for a normal withdrawal."""
    found = [_emergency(withdrawal), _large(withdrawal, bounds)]
    if not withdrawal.emergency:  # which is not made by the owner
        found += [_unusual(withdrawal, bounds), _rapid(withdrawal, bounds)]
    return [finding for finding in found if finding is not None]


def is_low(value: int, bound: int, *, was_low: bool) -> bool:
    """Return whether `value` is below the bound, or the recovery bound if it was low before."""
    return value < (recovery_bound(bound) if was_low else bound)


def recovery_bound(bound: int) -> int:
    """Return the value from which on an alert about a value below `bound` ends."""
    return -(-bound * RECOVERED_PERCENT // PERCENT)


def fee_payer_severity(lamports: int, minimum: int) -> Severity:
    """Return critical below a fifth of the minimum, else warning."""
    return Severity.CRITICAL if lamports * CRITICAL_FRACTION < minimum else Severity.WARNING


def _emergency(withdrawal: Withdrawal) -> Finding | None:
    if not withdrawal.emergency:
        return None
    return Finding(
        kind="emergency_withdrawal",
        summary=f"Governance has withdrawn {withdrawal.amount} units from a vault",
    )


def _large(withdrawal: Withdrawal, bounds: Bounds) -> Finding | None:
    amount, tvl = withdrawal.amount, withdrawal.tvl_before
    absolute = 0 < bounds.large_amount <= amount
    share = bounds.large_percent > 0 and amount * PERCENT >= tvl * bounds.large_percent > 0
    if not absolute and not share:
        return None
    percent = amount * PERCENT // tvl if tvl else PERCENT
    return Finding(
        kind="large_withdrawal",
        severity=Severity.CRITICAL if absolute and share else Severity.WARNING,
        summary=f"{amount} units were withdrawn, {percent} % of all that vaults held",
        details={"tvl_before": tvl, "percent": percent},
    )


def _unusual(withdrawal: Withdrawal, bounds: Bounds) -> Finding | None:
    factor, earlier = bounds.unusual_factor, withdrawal.earlier
    if factor == 0 or len(earlier) < MIN_SAMPLES or withdrawal.amount < bounds.dust:
        return None
    usual = median_high(earlier)
    if withdrawal.amount <= factor * usual:
        return None
    return Finding(
        kind="unusual_withdrawal",
        summary=f"{withdrawal.amount} units were withdrawn, more than {factor} times the usual",
        details={"median": usual, "of": len(earlier)},
        per_owner=True,
    )


def _rapid(withdrawal: Withdrawal, bounds: Bounds) -> Finding | None:
    if not 0 < bounds.withdrawals_per_hour < withdrawal.within_hour:
        return None
    return Finding(
        kind="rapid_withdrawals",
        summary=f"{withdrawal.within_hour} withdrawals within an hour",
        details={"within_hour": withdrawal.within_hour},
        per_owner=True,
    )
