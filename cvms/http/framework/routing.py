"""What each route takes, answers and asks of its caller, said once.

Dispatch, limits and the OpenAPI document all follow these declarations, so that none of them can
say anything else than what is done.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Literal

from quart import Response, request

from cvms.errors import CvmsError
from cvms.http.framework.admin_tokens import Administrator, Role, authenticate, require
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.edge import Edge
from cvms.http.framework.request import Body, read_body, read_query
from cvms.http.framework.response import Reply, response_of
from cvms.store.security import audit_log


class Auth(StrEnum):
    """Who may ask: anybody, the wallet that signs the body, an administrator's token, or both."""

    NONE = "none"
    WALLET = "wallet"
    ADMIN = "admin"
    WALLET_OR_ADMIN = "wallet_or_admin"


MAX_QUERY_SHOWN = 500

Handler = Callable[..., Awaitable[Reply | Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route. The view is called with the services, the path's variables as text, and `body`
    and `query` where they are declared, both checked already.

    `replies` gives the type of each status that is success, None for what is not JSON; `refusals`
    the outcomes beside those that every route can have. The view's docstring is its description,
    unless `summary` is given.
    """

    method: Literal["GET", "POST", "DELETE"]
    rule: str
    handler: Handler
    replies: Mapping[int, Any]
    body: type[Body] | None = None
    query: type[Body] | None = None
    refusals: tuple[type[CvmsError], ...] = ()
    auth: Auth = Auth.NONE
    # The least role of an administrator, where one may or must ask; the view gets the
    # `administrator`, None where a wallet has asked instead.
    role: Role = Role.ADMIN
    # Costs more of a client's allowance: it opens a door, or moves money.
    sensitive: bool = False
    # Takes an Idempotency-Key: the same key and body give the same outcome.
    idempotent: bool = False
    # Takes a code of the second factor, where the owner has set one up.
    second_factor: bool = False
    tags: tuple[str, ...] = ()
    summary: str = ""


def register(app: Edge, deps: Dependencies, routes: Iterable[Route]) -> None:
    """Put the routes on the application."""
    for route in routes:
        endpoint = f"{route.method} {route.rule}"
        app.add_url_rule(
            route.rule, endpoint, partial(_dispatch, deps, route), methods=[route.method]
        )


async def _dispatch(deps: Dependencies, route: Route, **given: Any) -> Response:
    if route.sensitive:
        await deps.limits.admit_sensitive(request, route.rule)
    if route.auth in {Auth.ADMIN, Auth.WALLET_OR_ADMIN}:
        given["administrator"] = await _administrator(deps, route)
    if route.query is not None:
        given["query"] = read_query(route.query)
    if route.body is not None:
        given["body"] = await read_body(route.body)
    answer = await route.handler(deps, **given)
    return answer if isinstance(answer, Response) else response_of(answer)


async def _administrator(deps: Dependencies, route: Route) -> Administrator | None:
    """Who asks, before anything else is looked at. Raises unless that may be.

    The audit trail has every call: here those that look and those that reach too far, and each that
    changes something in the transaction of its change.
    """
    authorization = request.headers.get("Authorization")
    if route.auth is Auth.WALLET_OR_ADMIN and authorization is None:
        return None
    administrator = authenticate(deps.config.admin_jwt_secret, authorization)
    allowed = administrator.role >= route.role
    if route.method == "GET" or not allowed:
        async with deps.database.transaction() as conn:
            await audit_log.record(
                conn,
                actor=f"admin:{administrator.subject}",
                action=action_of(route),
                owner=None,
                outcome="accepted" if allowed else "refused",
                details={"role": administrator.role.label, "query": _query()},
            )
    require(administrator, route.role)
    return administrator


def _query() -> str:
    """The query as it came, which may be anything: nothing of it has been checked."""
    return request.query_string.decode("ascii", "replace")[:MAX_QUERY_SHOWN]


def action_of(route: Route) -> str:
    """The route as the audit trail names it, for example `get_api_admin_audit`."""
    return "_".join(re.findall(r"[a-z0-9]+", f"{route.method} {route.rule}".lower()))
