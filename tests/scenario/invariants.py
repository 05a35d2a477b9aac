"""Comparison of the tables with the expected state, by the invariants of docs/invariants.md.

It is meaningful only once everything is finalized and the service has caught up.
"""

from __future__ import annotations

from tests.scenario.checks import Violation
from tests.scenario.checks.aggregates import check_aggregates
from tests.scenario.checks.history import check_history
from tests.scenario.checks.outbox import check_outbox
from tests.scenario.checks.requests import check_requests
from tests.scenario.checks.vaults import check_vaults
from tests.scenario.tables import Tables
from tests.scenario.truth import Truth


def check_invariants(truth: Truth, tables: Tables) -> list[Violation]:
    """Return all violations, the worst first."""
    checks = (check_history, check_vaults, check_aggregates, check_outbox, check_requests)
    return [violation for check in checks for violation in check(truth, tables)]
