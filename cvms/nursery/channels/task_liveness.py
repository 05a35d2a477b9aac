"""What is wrong with a supervised task: it fails again and again, or nothing comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cvms.config.settings import Config

WINDOW_SECONDS = 300.0
CRASHES = 5
"""Failures within the window that make a crash loop. Outages are none: they are waited out."""
HEALTHY_SECONDS = WINDOW_SECONDS / (CRASHES - 1)
"""A run that lasted this long ends a crash loop. One that fails less often is none to begin with,
so nothing goes back and forth."""
USUAL_SECONDS = 900.0
"""How soon something has to come of a task that is not named below."""
SECONDS = {
    "health": 30.0,
    "leader": 120.0,
    "broadcaster": 60.0,
    "submitter": 120.0,
    "settler": 120.0,
    "webhooks": 120.0,
    "alert_webhooks": 120.0,
    "monitor": 120.0,
    # Says so once it has caught up; that it is behind is said by its part.
    "indexer": 3600.0,
    # Prunes every ten minutes, and much at once after a long while.
    "retention": 3600.0,
}
# Wait for what others send, for as long as nobody does; a connection that is lost ends them.
LISTENERS = frozenset({"calls"})
PASSES = 3
"""Full rounds of which one has to go well."""


def seconds_expected(name: str, config: Config) -> float | None:
    """Seconds within which a run of this task has to say that a round went well, if it has to."""
    if name in LISTENERS:
        return None
    intervals = {
        "reconciler": config.reconciliation_interval,  # reads every vault
        "balances": config.balance_monitor_interval,
        "yield_rates": config.yield_rates_seconds,
        "compounding": config.yield_compound_seconds,
    }
    if name in intervals:
        return USUAL_SECONDS + PASSES * intervals[name]
    return SECONDS.get(name, USUAL_SECONDS)


@dataclass(frozen=True, slots=True)
class LivenessFault:
    """Why a task is not well."""

    kind: Literal["crash_loop", "stalled"]
    detail: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """When what happened to a task. Times are trio's, seconds.

    `expected`: how long a run may go without a round that goes well, None for as long as it likes.
    """

    since: float
    """When its present state began; for a running task, its present run."""
    succeeded: float | None = None
    failures: tuple[float, ...] = ()
    expected: float | None = None


def after_failure(failures: Sequence[float], now: float) -> tuple[float, ...]:
    """The failures that still count, with one more."""
    return (*[at for at in failures if now - at < WINDOW_SECONDS], now)


def liveness_fault(pulse: Heartbeat, now: float, *, running: bool) -> LivenessFault | None:
    """What is wrong with a task, if anything is. One that waits for an outage to end is well."""
    recent = [at for at in pulse.failures if now - at < WINDOW_SECONDS]
    steady = running and now - pulse.since >= HEALTHY_SECONDS
    if len(recent) >= CRASHES and not steady:
        return LivenessFault(
            "crash_loop", f"failed {len(recent)} times within {WINDOW_SECONDS:.0f} seconds"
        )
    if not running or pulse.expected is None:
        return None
    quiet = now - max(pulse.since, pulse.succeeded or pulse.since)
    if quiet <= pulse.expected:
        return None
    return LivenessFault(
        "stalled",
        f"nothing has come of it for {quiet:.0f} seconds (expected within {pulse.expected:.0f})",
    )
