"""Probes of the service: /health, /ready and /ready/traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from cvms.http.framework.admin_tokens import Administrator
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import no_traffic, not_ready, problem_response
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.nursery.channels.check_progress import CheckStatus
from cvms.nursery.channels.status_board import ComponentStatus

ROUTES = RouteGroup("operation")


class Alive(msgspec.Struct, frozen=True):
    status: str = "ok"


class Ready(msgspec.Struct, frozen=True):
    """The state of every component, and of every kind of check if the reconciler runs here.

    `kind` is `ok` or a kind of trouble, such as `refused`. `detail` is the same in words; for
    administrators it also names hosts and numbers.
    `warnings` names what needs a person, and no other replica; administrators also see why.
    """

    parts: Mapping[str, ComponentStatus]
    checks: Mapping[str, CheckStatus]
    warnings: Mapping[str, str]
    status: str = "ready"


class TakesTraffic(msgspec.Struct, frozen=True):
    status: str = "ready"


@ROUTES.get("/health", replies={200: Alive})
async def get_health(deps: Dependencies) -> Reply:
    """Check that the process answers requests."""
    return Reply(Alive())


@ROUTES.get("/ready", replies={200: Ready}, auth=Auth.OPTIONAL_ADMIN)
async def get_readiness(
    deps: Dependencies, administrator: Administrator | None
) -> Reply | Response:
    """Check that the service is ready.

    200 if every component is ok, else 503 with the code `not_ready`; both list every component
    with its kind of trouble. Administrators also see hosts and reasons. The kind of `deployment` is
    `no_program`, `no_authority`, `no_mint`, `token_2022` or `wrong_mint` while the chain lacks it.
    A check of the database against the chain that is not ok needs a person, but no other replica.
    """
    components, checks = deps.board.components, deps.board.checks.statuses()
    warnings: Mapping[str, str] = deps.board.warnings
    if administrator is None:
        warnings = dict.fromkeys(warnings, "needs a person")
        components = {name: each.without_detail() for name, each in components.items()}
        checks = {name: each.without_detail() for name, each in checks.items()}
    if deps.board.ready:
        return Reply(Ready(components, checks, warnings))
    problem = not_ready(_plain(components), _plain(checks), warnings)
    return problem_response(problem)


@ROUTES.get("/ready/traffic", replies={200: TakesTraffic})
async def get_traffic_readiness(deps: Dependencies) -> Reply | Response:
    """Check that a load balancer may send requests to this process.

    200 while it can answer reads, whatever the state of the chain, the indexer or the operator's
    key: what needs those is refused by itself. 503 with the code `not_ready` while the database
    answers no reads, and once the process has begun to end.
    """
    trouble = deps.board.traffic_trouble
    if trouble is None:
        return Reply(TakesTraffic())
    return problem_response(no_traffic(trouble))


def _plain(statuses: Mapping[str, ComponentStatus] | Mapping[str, CheckStatus]) -> dict[str, Any]:
    return {name: asdict(each) for name, each in statuses.items()}
