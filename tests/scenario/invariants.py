"""Comparison of the tables with the expected state, by the invariants of docs/invariants.md.

It is meaningful only once everything is finalized and the service has caught up.
"""

from __future__ import annotations

from copy import deepcopy

from tests.scenario.checks import Violation
from tests.scenario.checks.aggregates import check_aggregates
from tests.scenario.checks.history import check_history
from tests.scenario.checks.outbox import check_outbox
from tests.scenario.checks.requests import check_requests
from tests.scenario.checks.vaults import check_vaults
from tests.scenario.tables import Tables
from tests.scenario.truth import Truth


def missing_times_filled(tables: Tables, truth: Truth) -> Tables:
    """Return the tables with the chain's block times where a node told none that can be right.

    A time that was recorded has to be the right one.
    """
    times = {event.signature: event.time for event in truth.events}
    filled = deepcopy(tables)
    for row in (*filled["chain_events"], *filled["transactions"]):
        row["block_time"] = row["block_time"] or times.get(row["signature"])
    for row in filled["outbox"]:
        time = times.get(row["signature"])
        if time is not None and row["data"].get("block_time", "") is None:
            row["data"]["block_time"] = time.isoformat()
    return filled


def check_invariants(truth: Truth, tables: Tables) -> list[Violation]:
    """Return all violations, the worst first."""
    checks = (check_history, check_vaults, check_aggregates, check_outbox, check_requests)
    return [violation for check in checks for violation in check(truth, tables)]
