"""Finding: what a check saw, whether that is as it must be, and what to do otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

GROUPS = (
    "settings",
    "database",
    "redis",
    "endpoints",
    "chain",
    "programs",
    "authority",
    "mint",
    "operator",
    "webhooks",
)
"""The groups of checks, in the order in which they are shown."""


class Level(StrEnum):
    """How a check has ended. A check is skipped if another one has failed that it needs."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check.

    `check` is the check's name, `subject` the endpoint or program that it is about, if there are
    several. `seen` and `advice` hold no secret. `kind` is the kind of trouble in `/ready` if a
    failure makes the service impossible, and the kind of alert if a warning is a danger.
    """

    check: str
    level: Level
    seen: str
    advice: str = ""
    subject: str = ""
    kind: str = ""


def ok(check: str, seen: str, *, subject: str = "") -> Finding:
    return Finding(check=check, level=Level.OK, seen=seen, subject=subject)


def warning(check: str, seen: str, advice: str, *, subject: str = "", kind: str = "") -> Finding:
    return Finding(
        check=check, level=Level.WARNING, seen=seen, advice=advice, subject=subject, kind=kind
    )


def failure(check: str, seen: str, advice: str, *, subject: str = "", kind: str = "") -> Finding:
    return Finding(
        check=check, level=Level.FAILURE, seen=seen, advice=advice, subject=subject, kind=kind
    )


def skipped(check: str, reason: str) -> Finding:
    return Finding(check=check, level=Level.SKIPPED, seen=reason)


def first_trouble(findings: Iterable[Finding]) -> Finding | None:
    """Return the first failure that makes the service impossible."""
    troubles = (each for each in findings if each.level is Level.FAILURE and each.kind)
    return next(troubles, None)


def dangers(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the warnings that raise an alert."""
    return tuple(each for each in findings if each.level is Level.WARNING and each.kind)
