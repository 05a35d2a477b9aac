"""The overview of a process and of the whole service, for operators."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import metadata
from typing import Literal

import msgspec

from cvms.amounts import Amount
from cvms.nursery.channels.check_progress import CheckStatus

PACKAGE = "cvms"


class ComponentState(msgspec.Struct, frozen=True, kw_only=True):
    """A component of this process's readiness, as in /ready, since when it has that status."""

    status: Literal["ok", "failing"]
    kind: str
    detail: str
    since: datetime


class OperatorState(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's key that pays fees, or the preferred one while none `pays` for others.

    `lamports` is null until its balance was read.
    """

    address: str
    lamports: int | None
    minimum_lamports: int
    pays: bool


class AlertCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The alerts that are not resolved, by severity."""

    critical: int = 0
    warning: int = 0
    info: int = 0


class EndpointReading(msgspec.Struct, frozen=True, kw_only=True):
    """An RPC endpoint as this process sees it. `slot` is 0 before its first answer.

    `failures` counts those in a row: one that is `failing` is used, and `down` once it has
    `failures_before_down` of them. `up` is true unless `state` is `down`.
    """

    host: str
    up: bool
    state: Literal["up", "failing", "down"]
    failures: int
    failures_before_down: int
    slot: int
    latency_seconds: float | None


class ServiceInstance(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the service that was alive within the last minute."""

    instance: str
    host: str
    version: str
    leader: bool
    started_at: datetime
    seen_at: datetime
    ready: bool


class OperationsOverview(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the service. Components, checks, warnings and endpoints are this process's own.

    `slot` is up to where everything is indexed, `chain_slot` the newest of any endpoint; each is
    null until it is known. `lag_seconds` is estimated from their difference. `submissions` counts
    those that are in flight or quarantined. `revision` is the commit that the package was built
    from, null if the package does not say.
    """

    at: datetime
    version: str
    revision: str | None
    slot: int | None
    chain_slot: int | None
    lag_seconds: float | None
    total_value_locked: Amount
    active_vaults: int
    components: Mapping[str, ComponentState]
    checks: Mapping[str, CheckStatus]
    warnings: Mapping[str, str]
    operator: OperatorState
    alerts: AlertCounts
    submissions: Mapping[str, int]
    endpoints: list[EndpointReading]
    instances: list[ServiceInstance]


@cache
def installed_version() -> str:
    """Return the version of the installed package."""
    return metadata.version(PACKAGE)


@cache
def installed_revision() -> str | None:
    """Return the commit that the package was installed from; None if it was not from Git.

    Source: PEP 610, `direct_url.json`.
    """
    text = metadata.distribution(PACKAGE).read_text("direct_url.json")
    commit = json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    return commit if isinstance(commit, str) else None
