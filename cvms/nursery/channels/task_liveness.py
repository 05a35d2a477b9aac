"""Liveness of supervised tasks: detection of crash loops and of stalled tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cvms.config.settings import Config

WINDOW_SECONDS = 300.0
CRASH_LOOP_FAILURES = 5
"""Failures within the window that make a crash loop. Outages of dependencies do not count."""
HEALTHY_SECONDS = WINDOW_SECONDS / (CRASH_LOOP_FAILURES - 1)
"""A run of this length ends a crash loop. A task that fails no more often than this never reaches
CRASH_LOOP_FAILURES within the window, so the state does not flap."""
DEFAULT_EXPECTED_SECONDS = 900.0
"""How soon a task that is not listed below must succeed."""
EXPECTED_SECONDS = {
    "health": 30.0,
    "deployment": 120.0,
    "leader": 120.0,
    "broadcaster": 60.0,
    "submitter": 120.0,
    "settler": 120.0,
    "audit_heads": 120.0,
    "webhooks": 120.0,
    "alert_webhooks": 120.0,
    "endpoint_messages": 120.0,
    "event_webhooks": 120.0,
    "monitor": 120.0,
    "instances": 120.0,
    # Succeeds when it has caught up; while it is behind, its component shows that.
    "indexer": 3600.0,
    # Reads every vault from the chain.
    "proofs": 3600.0,
    # Runs every ten minutes; a run takes long after a long pause.
    "retention": 3600.0,
}
# They wait for notifications, however long none comes. Losing the connection ends them.
LISTENERS = frozenset({"calls"})
INTERVALS = 3
"""Intervals within which a periodic task must succeed once."""


def seconds_expected(name: str, config: Config) -> float | None:
    """Return the seconds within which a running task must succeed, or None for a listener."""
    if name in LISTENERS:
        return None
    intervals = {
        "reconciler": config.reconciliation_interval,  # reads every vault
        "balances": config.balance_monitor_interval,
        "yield_rates": config.yield_rates_seconds,
        "compounding": config.yield_compound_seconds,
    }
    if name in intervals:
        return DEFAULT_EXPECTED_SECONDS + INTERVALS * intervals[name]
    return EXPECTED_SECONDS.get(name, DEFAULT_EXPECTED_SECONDS)


@dataclass(frozen=True, slots=True)
class LivenessFault:
    """Fault of a task."""

    kind: Literal["crash_loop", "stalled"]
    detail: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Times of a task's last events, in seconds of trio's clock.

    `expected`: the seconds within which it must succeed, None for no limit.
    """

    since: float
    """When the current state began."""
    expected_since: float
    """When it was first expected to succeed. An outage or a failure does not change that."""
    succeeded: float | None = None
    failures: tuple[float, ...] = ()
    expected: float | None = None


def after_failure(failures: Sequence[float], now: float) -> tuple[float, ...]:
    """Return the failures that are within the window, and `now`."""
    return (*[at for at in failures if now - at < WINDOW_SECONDS], now)


def liveness_fault(
    heartbeat: Heartbeat, now: float, *, running: bool, active: bool
) -> LivenessFault | None:
    """Return a task's fault, None if it has none. An `active` task runs or is to run again.

    A task that waits for an outage to end is stalled in time too: a provider may refuse the one
    method that it needs, while it answers all others.
    """
    recent = [at for at in heartbeat.failures if now - at < WINDOW_SECONDS]
    steady = running and now - heartbeat.since >= HEALTHY_SECONDS
    if len(recent) >= CRASH_LOOP_FAILURES and not steady:
        return LivenessFault(
            "crash_loop", f"failed {len(recent)} times within {WINDOW_SECONDS:.0f} seconds"
        )
    if not active or heartbeat.expected is None:
        return None
    idle = now - max(heartbeat.expected_since, heartbeat.succeeded or heartbeat.expected_since)
    if idle <= heartbeat.expected:
        return None
    return LivenessFault(
        "stalled",
        f"has not succeeded for {idle:.0f} seconds (expected within {heartbeat.expected:.0f})",
    )
