"""What is worth an alert is decided by rules that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cvms.nursery.alerts.rules import Bounds, Withdrawal, fee_payer_severity, findings, is_low
from cvms.nursery.alerts.service_conditions import GRACE_PERIOD, component_observations
from cvms.nursery.channels.status_board import ComponentStatus

BOUNDS = Bounds(
    large_amount=1_000, large_percent=10, unusual_factor=10, withdrawals_per_hour=3, dust=20
)
NORMAL = Withdrawal(
    amount=100, emergency=False, earlier=[100] * 5, within_hour=1, tvl_before=1_000_000
)
NEVER = Bounds(large_amount=0, large_percent=0, unusual_factor=0, withdrawals_per_hour=0, dust=0)
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
        ({"amount": 101, "earlier": [10] * 4}, {}),  # no habit yet
        ({"amount": 101, "earlier": [10, 10, 10, 900, 900]}, {"unusual_withdrawal": "warning"}),
        ({"amount": 101, "earlier": [10, 10, 11, 900, 900]}, {}),  # not by its median
        ({"amount": 19, "earlier": [1] * 5}, {}),  # dust
        ({"within_hour": 3}, {}),
        ({"within_hour": 4}, {"rapid_withdrawals": "warning"}),
        (
            {"emergency": True, "within_hour": 9, "earlier": [1] * 5},
            {"emergency_withdrawal": "warning"},
        ),
    ],
)
def test_a_withdrawal_is_judged_by_its_size_and_its_owners_habit(
    changes: dict[str, object], kinds: dict[str, str]
) -> None:
    judged = replace(NORMAL, **changes)  # type: ignore[arg-type]
    assert {each.kind: each.severity for each in findings(judged, BOUNDS)} == kinds


def test_a_rule_that_is_off_says_nothing() -> None:
    all_at_once = Withdrawal(
        amount=2**63 - 1, emergency=False, earlier=[0] * 50, within_hour=1_000, tvl_before=1
    )
    assert findings(all_at_once, NEVER) == []


def test_what_was_low_stays_low_until_it_is_well_above() -> None:
    assert not is_low(100, 100, was_low=False)
    assert is_low(99, 100, was_low=False)
    assert is_low(119, 100, was_low=True)
    assert not is_low(120, 100, was_low=True)
    assert not is_low(0, 0, was_low=True)


def test_a_fee_payer_with_next_to_nothing_is_critical() -> None:
    assert fee_payer_severity(20, 100) == "warning"
    assert fee_payer_severity(19, 100) == "critical"


def test_a_part_is_told_of_only_once_it_has_been_down_for_a_while() -> None:
    def kinds(since: datetime, *names: str, gap: str | None = None) -> list[tuple[str, str]]:
        parts = {
            name: ComponentStatus(name not in names, "detail", since) for name in ("rpc", "indexer")
        }
        return [
            (each.kind, each.severity) for each in component_observations(parts, gap=gap, now=NOW)
        ]

    long_ago = NOW - GRACE_PERIOD
    assert kinds(long_ago + timedelta(seconds=1), "rpc", "indexer") == []
    assert kinds(long_ago, "indexer") == [("indexer_lag", "warning")]
    # A chain that is away says nothing about the indexer, but for a gap that is known.
    assert kinds(long_ago, "rpc", "indexer") == [("part_down", "critical")]
    assert kinds(long_ago, "indexer", gap="a gap") == [("indexer_gap", "critical")]
