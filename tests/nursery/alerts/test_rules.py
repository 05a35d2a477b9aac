"""Alert rules on values that can be checked by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cvms.nursery.alerts.rules import (
    RESOLVE_AFTER,
    Bounds,
    Withdrawal,
    fee_payer_severity,
    findings,
    is_low,
)
from cvms.nursery.alerts.service_conditions import (
    GRACE_PERIOD,
    MAX_ERROR_LENGTH,
    component_observations,
    warning_observations,
)
from cvms.nursery.channels.status_board import ComponentStatus
from cvms.store.alerts.foreign_changes import KIND_OF
from cvms.store.alerts.lifecycle import ENDED_BY_A_PERSON
from cvms.store.alerts.program_events import ALERT_OF
from tests.paths import DOCS

BOUNDS = Bounds(
    large_amount=1_000,
    large_percent=10,
    unusual_factor=10,
    withdrawals_per_hour=3,
    dust=20,
    movements_per_minute=10,
)
NORMAL = Withdrawal(
    amount=100, emergency=False, earlier=[100] * 5, within_hour=1, tvl_before=1_000_000
)
NEVER = replace(
    BOUNDS, large_amount=0, large_percent=0, unusual_factor=0, withdrawals_per_hour=0, dust=0
)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, {}),
        ({"amount": 999}, {}),
        ({"amount": 1_000}, {"large_withdrawal": "warning"}),
        ({"tvl_before": 1_001}, {}),
        ({"tvl_before": 1_000}, {"large_withdrawal": "warning"}),
        ({"amount": 1_000, "tvl_before": 1_000}, {"large_withdrawal": "critical"}),
        ({"tvl_before": 100}, {"large_withdrawal": "warning"}),
        ({"earlier": [10] * 5}, {}),
        ({"amount": 101, "earlier": [10] * 5}, {"unusual_withdrawal": "warning"}),
        ({"amount": 101, "earlier": [10] * 4}, {}),  # too few earlier ones
        ({"amount": 101, "earlier": [10, 10, 10, 900, 900]}, {"unusual_withdrawal": "warning"}),
        ({"amount": 101, "earlier": [10, 10, 11, 900, 900]}, {}),  # relative to the median
        ({"amount": 19, "earlier": [1] * 5}, {}),  # dust
        ({"within_hour": 3}, {}),
        ({"within_hour": 4}, {"rapid_withdrawals": "warning"}),
        (
            {"emergency": True, "within_hour": 9, "earlier": [1] * 5},
            {"emergency_withdrawal": "warning"},
        ),
    ],
)
def test_a_withdrawal_is_evaluated_by_its_size_and_its_owners_history(
    changes: dict[str, object], kinds: dict[str, str]
) -> None:
    withdrawal = replace(NORMAL, **changes)  # type: ignore[arg-type]
    assert {found.kind: found.severity for found in findings(withdrawal, BOUNDS)} == kinds


def test_a_disabled_rule_finds_nothing() -> None:
    extreme = Withdrawal(
        amount=2**63 - 1, emergency=False, earlier=[0] * 50, within_hour=1_000, tvl_before=1
    )
    assert findings(extreme, NEVER) == []


def test_a_low_value_stays_low_up_to_the_recovery_bound() -> None:
    assert not is_low(100, 100, was_low=False)
    assert is_low(99, 100, was_low=False)
    assert is_low(119, 100, was_low=True)
    assert not is_low(120, 100, was_low=True)
    assert not is_low(0, 0, was_low=True)


def test_a_fee_payer_below_a_fifth_is_critical() -> None:
    assert fee_payer_severity(20, 100) == "warning"
    assert fee_payer_severity(19, 100) == "critical"


def test_each_warning_of_the_board_is_a_critical_alert() -> None:
    [seen] = warning_observations({"audit_trail": "x" * 1_000})
    assert (seen.kind, seen.subject, seen.severity) == ("audit_trail", "audit_trail", "critical")
    assert len(seen.summary) == MAX_ERROR_LENGTH
    assert set(RESOLVE_AFTER) >= {"audit_trail", "alert_webhook"}


def test_a_component_is_reported_only_after_the_grace_period() -> None:
    def kinds(since: datetime, *names: str, gap: str | None = None) -> list[tuple[str, str]]:
        components = {
            name: ComponentStatus(name not in names, "detail", since, "kind")
            for name in ("rpc", "indexer", "deployment")
        }
        return [
            (seen.kind, seen.severity)
            for seen in component_observations(components, gap=gap, now=NOW)
        ]

    long_ago = NOW - GRACE_PERIOD
    assert kinds(long_ago + timedelta(seconds=1), "rpc", "indexer") == []
    assert kinds(long_ago, "indexer") == [("indexer_lag", "warning")]
    assert kinds(long_ago, "deployment") == [("part_down", "critical")]
    assert kinds(long_ago, "rpc", "deployment") == [("part_down", "critical")]
    # While the chain is unavailable, the indexer is reported only for a gap.
    assert kinds(long_ago, "rpc", "indexer") == [("part_down", "critical")]
    assert kinds(long_ago, "indexer", gap="a gap") == [("indexer_gap", "critical")]


def test_every_kind_that_ends_is_in_the_document() -> None:
    documented = set(re.findall(r"`(\w+)`", (DOCS / "alerts.md").read_text()))
    kinds = {*RESOLVE_AFTER, *ENDED_BY_A_PERSON, *ALERT_OF.values(), *KIND_OF.values()}
    assert kinds - documented == set()
    assert {*KIND_OF.values()} <= {*ENDED_BY_A_PERSON}
