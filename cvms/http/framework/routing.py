"""Declarations of routes: what each takes, what it answers, and what it requires of its caller.

Dispatch, rate limits and the OpenAPI document all follow from these declarations, so they cannot
contradict each other.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Literal, TypedDict, TypeVar, Unpack, get_type_hints

from cvms.amounts import amounts_to_strings
from cvms.errors import AdminDisabled, CvmsError, InvalidToken
from cvms.http.framework.admin_tokens import Administrator, Role, authenticate, require
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import response_of
from cvms.http.framework.request import (
    Body,
    Request,
    read_body,
    read_query,
    wants_amount_strings,
)
from cvms.http.framework.response import JSON, Reply, Response, rewritten
from cvms.log.fields import bind_log_fields
from cvms.store.security import audit_log
from cvms.store.security.revoked_tokens import RevokedTokens


class Auth(StrEnum):
    """Credential of a request: nothing, a wallet's signature, an administrator token, either of the
    two, or a token that only adds to the reply.
    """

    NONE = "none"
    OPTIONAL_ADMIN = "optional_admin"
    WALLET = "wallet"
    ADMIN = "admin"
    WALLET_OR_ADMIN = "wallet_or_admin"


_ADMINISTRATORS = frozenset({Auth.ADMIN, Auth.WALLET_OR_ADMIN})
MAX_QUERY_LOGGED = 500

MAX_SEGMENT = 2**63
_VARIABLE = re.compile(
    r"<(?:string\(minlength=(?P<least>\d+),maxlength=(?P<most>\d+)\):)?(?P<name>\w+)>"
)

View = Callable[[Request, Mapping[str, str]], Awaitable[Response]]
"""Answers a request, given the variables of its path."""

Handler = Callable[..., Awaitable[Reply | Response]]
H = TypeVar("H", bound=Handler)
Method = Literal["GET", "POST", "PUT", "DELETE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route. The handler is called with the dependencies, the path's variables as text, and
    `body` and `query` where they are declared, both validated.

    `replies` maps each status of success to the type of its reply, None for one that is not JSON.
    `refusals` are the errors beyond those that every route can raise. The first line of the
    handler's docstring is the route's summary in the OpenAPI document, the rest its description.
    """

    method: Method
    rule: str
    handler: Handler
    replies: Mapping[int, Any]
    body: type[Body] | None = None
    query: type[Body] | None = None
    refusals: tuple[type[CvmsError], ...] = ()
    # The `operationId` in snake case, where the handler's name does not tell it.
    name: str = ""
    auth: Auth = Auth.NONE
    # The lowest role that an administrator needs. The handler gets the `administrator`, or None
    # if a wallet signed the request instead.
    role: Role = Role.ADMIN
    # Shows what is indexed: accepts X-Min-Slot, and may be answered by a replica of the database.
    indexed: bool = False
    # The type of replies with status 200 that are not JSON: always, or if the client prefers that.
    media_type: str = ""
    # Has a rate limit of its own, since it grants access or moves money.
    sensitive: bool = False
    # The action's name, if another administrator has to approve it where ADMIN_APPROVALS is 2: the
    # request is stored, and answered with 202 `ApprovalRequested` or 202 `Governed`. The handler
    # calls `administrator.act` in the transaction of its effect, as `execute_operation` does, and
    # whatever uses an `AdministratorRequest` with `record_use`.
    needs_approval: str = ""
    # Returns whether a request needs that; all do without. Raises what would be refused anyway.
    exposes: Callable[[Dependencies, Any], Awaitable[bool]] | None = None
    # The reply shows a secret: it is not kept in the clear.
    shows_secret: bool = False
    # Accepts an Idempotency-Key: the same key and body give the same outcome.
    idempotent: bool = False
    # Requires a code of the second factor if the owner has enabled one.
    second_factor: bool = False
    tags: tuple[str, ...] = ()


class Declaration(TypedDict, total=False):
    """Fields of `Route` beside its method, rule and handler."""

    replies: Mapping[int, Any]
    refusals: tuple[type[CvmsError], ...]
    name: str
    auth: Auth
    role: Role
    indexed: bool
    media_type: str
    sensitive: bool
    needs_approval: str
    exposes: Callable[[Dependencies, Any], Awaitable[bool]]
    shows_secret: bool
    idempotent: bool
    second_factor: bool


class RouteGroup:
    """The routes of a module, each declared on its handler. Iterate over it for the routes.

    `common` holds for every route that does not declare otherwise. The types of a route's body and
    query are those of the handler's parameters `body` and `query`.
    """

    def __init__(self, *tags: str, **common: Unpack[Declaration]) -> None:
        self._tags = tags
        self._common = common
        self._routes: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def get(self, rule: str, **declared: Unpack[Declaration]) -> Callable[[H], H]:
        """Declare a GET route on its handler."""
        return self._declare("GET", rule, declared)

    def post(self, rule: str, **declared: Unpack[Declaration]) -> Callable[[H], H]:
        """Declare a POST route on its handler."""
        return self._declare("POST", rule, declared)

    def put(self, rule: str, **declared: Unpack[Declaration]) -> Callable[[H], H]:
        """Declare a PUT route on its handler."""
        return self._declare("PUT", rule, declared)

    def delete(self, rule: str, **declared: Unpack[Declaration]) -> Callable[[H], H]:
        """Declare a DELETE route on its handler."""
        return self._declare("DELETE", rule, declared)

    def _declare(self, method: Method, rule: str, declared: Declaration) -> Callable[[H], H]:
        def declare(handler: H) -> H:
            types = get_type_hints(handler)
            route = Route(
                method=method,
                rule=rule,
                handler=handler,
                body=types.get("body"),
                query=types.get("query"),
                tags=self._tags,
                **(self._common | declared),
            )
            self._routes.append(route)
            return handler

        return declare


@cache
def template_of(rule: str) -> str:
    """Return the rule as OpenAPI writes it, with `{owner}` for the variable `owner`."""
    return _VARIABLE.sub(r"{\g<name>}", rule)


class RouteTable:
    """Finds the route of a path, as the application's URL map does, for the methods of routes.

    A tree by the segments of the rules, in which a variable is exactly one segment.
    """

    def __init__(self) -> None:
        self._root = _Segment()
        self.views: dict[str, View] = {}
        """By method and rule, as in `GET /api/vaults`."""

    def add(self, method: Method, rule: str, view: View) -> None:
        """Add a rule. Raises ValueError for a converter that is not known here."""
        names = []
        segment = self._root
        for text in rule.split("/")[1:]:
            variable = _VARIABLE.fullmatch(text)
            if variable is None and "<" in text:
                raise ValueError(f"the rule {rule} has a variable of an unknown kind: {text}")
            if variable is None:
                segment = segment.fixed.setdefault(text, _Segment())
                continue
            names.append(variable["name"])
            length = (int(variable["least"] or 1), int(variable["most"] or MAX_SEGMENT))
            segment = segment.variable.setdefault(length, _Segment())
        segment.views[method] = (view, tuple(names))
        self.views[f"{method} {rule}"] = view

    def find(self, method: str, path: str) -> tuple[View, dict[str, str]] | None:
        """Return the view of a path and the values of its variables, None if there is none."""
        return self._root.find(method, path.split("/"), 1, ())


class _Segment:
    __slots__ = ("fixed", "variable", "views")

    def __init__(self) -> None:
        self.fixed: dict[str, _Segment] = {}
        self.variable: dict[tuple[int, int], _Segment] = {}
        """By the least and the most characters of the value."""
        self.views: dict[str, tuple[View, tuple[str, ...]]] = {}

    def find(
        self, method: str, path: list[str], position: int, values: tuple[str, ...]
    ) -> tuple[View, dict[str, str]] | None:
        if position == len(path):
            found = self.views.get(method)
            return found and (found[0], dict(zip(found[1], values, strict=True)))
        text = path[position]
        fixed = self.fixed.get(text)
        if fixed is not None:
            match = fixed.find(method, path, position + 1, values)
            if match is not None:
                return match
        for (least, most), segment in self.variable.items():
            if least <= len(text) <= most:
                match = segment.find(method, path, position + 1, (*values, text))
                if match is not None:
                    return match
        return None


async def answer(
    deps: Dependencies, route: Route, request: Request, variables: Mapping[str, str]
) -> Response:
    """Return the route's response, given the variables of the request's path.

    Raises RateLimited, InvalidRequest, the errors of a token, and those that the handler raises.
    """
    arguments: dict[str, Any] = dict(variables)
    bind_log_fields(route=route.rule)
    if route.sensitive:
        await deps.limits.admit_sensitive(request, route.rule)
    if route.auth in _ADMINISTRATORS:
        arguments["administrator"] = await _administrator(deps, route, request)
    if route.auth is Auth.OPTIONAL_ADMIN:
        arguments["administrator"] = _administrator_if_any(deps, request)
    if route.query is not None:
        arguments["query"] = read_query(route.query)
    if route.body is not None:
        arguments["body"] = await read_body(route.body)
    request.amount_strings = wants_amount_strings(request) and has_amounts(route)
    reply = await route.handler(deps, **arguments)
    response = reply if isinstance(reply, Response) else response_of(reply)
    if has_amounts(route):
        response.headers["Vary"] = "Accept"
        rewrite = amounts_to_strings(route.replies.get(response.status))
        is_json = response.headers.get("Content-Type") == JSON
        if request.amount_strings and is_json and rewrite is not None:
            response.body = rewritten(response.body, rewrite)
    return response


def has_amounts(route: Route) -> bool:
    """Return whether a reply of the route has amounts, which it may carry as strings."""
    return any(amounts_to_strings(kind) is not None for kind in route.replies.values())


async def _administrator(
    deps: Dependencies, route: Route, request: Request
) -> Administrator | None:
    """Return the administrator whose token the request carries, None if a wallet may sign instead.

    Raises AdminDisabled, InvalidToken or NotAllowed. The audit trail records every call: here those
    that only read and those that are refused; one that changes something is recorded in the
    transaction of its change.
    """
    authorization = request.header("authorization")
    if route.auth is Auth.WALLET_OR_ADMIN and authorization is None:
        return None
    administrator = await administrator_of(deps, authorization)
    allowed = administrator.role >= route.role
    if route.method == "GET" or not allowed:
        async with deps.database.transaction() as conn:
            await audit_log.record(
                conn,
                actor=administrator.actor,
                action=action_of(route),
                owner=None,
                outcome="accepted" if allowed else "refused",
                # The raw query: nothing of it has been validated yet.
                details={
                    "role": administrator.role.label,
                    "query": request.query_string.decode("ascii", "replace")[:MAX_QUERY_LOGGED],
                },
            )
    require(administrator, route.role)
    return administrator


async def administrator_of(deps: Dependencies, authorization: str | None) -> Administrator:
    """Return the holder of a valid token that is not revoked.

    Raises AdminDisabled or InvalidToken, and DatabaseUnavailable while nobody can tell.
    """
    administrator = _holder(deps, authorization)
    return _unless_revoked(administrator, await deps.revocations.current())


def _administrator_if_any(deps: Dependencies, request: Request) -> Administrator | None:
    """Return the holder of a valid token, None without one.

    The audit trail does not record the call, which has to be answered without the database: then
    what was read last tells which tokens are revoked.
    """
    try:
        administrator = _holder(deps, request.header("authorization"))
        return _unless_revoked(administrator, deps.revocations.last_read)
    except (AdminDisabled, InvalidToken):
        return None


def _holder(deps: Dependencies, authorization: str | None) -> Administrator:
    config = deps.config
    return authenticate(config.admin_jwt_secret, authorization, dict(config.admin.token_secrets))


def _unless_revoked(administrator: Administrator, revoked: RevokedTokens) -> Administrator:
    if administrator.token in revoked:
        raise InvalidToken("The token was revoked; `cvms token` mints a new one.")
    return administrator


def action_of(route: Route) -> str:
    """Return the route's name in the audit trail, for example `get_api_admin_audit`."""
    return "_".join(re.findall(r"[a-z0-9]+", f"{route.method} {route.rule}".lower()))
