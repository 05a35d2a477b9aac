"""The OpenAPI 3.1 document, generated from what the routes declare.

quart-schema puts the document together; the schemas are msgspec's own, of the very types that
validate bodies and queries, so that the document cannot promise anything else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from importlib import metadata
from typing import Any

import msgspec
import trio
from quart_schema import QuartSchema
from quart_schema.openapi import HttpSecurityScheme, Info, OpenAPIProvider, Tag
from solders.pubkey import Pubkey
from werkzeug.routing.rules import Rule

from cvms import errors
from cvms.http.framework import schemas
from cvms.http.framework.edge import Edge
from cvms.http.framework.problems import HTTP_CODES, outcome_of
from cvms.http.framework.request import MAX_AMOUNT, Exact, TokenAmount
from cvms.http.framework.routing import Auth, Route
from cvms.http.multisig.proposal_view import Standing

TAGS = {
    "operation": "Is it alive, ready, and how is it doing",
    "authentication": "What a wallet signs with",
    "second factor": "A code beside the wallet's signature",
    "vaults": "Vaults, their balances and their history",
    "multisig": "Withdrawals that several must sign",
    "analytics": "All vaults together, over time",
    "positions": "Collateral that positions hold",
    "yield": "What vaults earn elsewhere",
    "transactions": "Transactions on their way to the chain",
    "administration": "What operators and governance do",
    "programs": "The on-chain programs",
}

_PATH_VARIABLE = re.compile(r"<(?:[^:>]*:)?([^>]+)>")
_REF = "#/components/schemas/{name}"


def _up_to(limit: int) -> str:
    """A pattern for the whole numbers from 1 to `limit`."""
    digits = str(limit)
    smaller = [
        f"{digits[:place]}[{0 if place else 1}-{int(digit) - 1}][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits)
        if int(digit) > (0 if place else 1)
    ]
    return f"^([1-9][0-9]{{0,{len(digits) - 2}}}|{'|'.join(smaller)}|{digits})$"


PUBKEY = {
    "type": "string",
    "title": "A public key in base58",
    "format": "solana-pubkey",
    "pattern": "^[1-9A-HJ-NP-Za-km-z]{32,44}$",
}
SIGNATURE = {
    "type": "string",
    "title": "A transaction's signature in base58",
    "format": "solana-signature",
    "pattern": "^[1-9A-HJ-NP-Za-km-z]{64,88}$",
}
AMOUNT = {
    "title": "An amount in the token's smallest unit",
    "oneOf": [
        {"type": "integer", "minimum": 1, "maximum": MAX_AMOUNT},
        {"type": "string", "pattern": _up_to(MAX_AMOUNT)},
    ],
}
# By the variable's name: the same name means the same everywhere.
PATH_SCHEMAS: Mapping[str, dict[str, Any]] = {
    "owner": PUBKEY,
    "signature": SIGNATURE,
    "proposal_id": {"type": "string", "format": "uuid"},
    "alert_id": {"type": "integer", "minimum": 1, "maximum": MAX_AMOUNT},
}

# Replies that name something another operation shows: which, and by which field.
LINKS: Mapping[Any, tuple[str, str]] = {
    schemas.Submitted: ("get_api_transactions_signature", "signature"),
    schemas.Accepted: ("get_api_transactions_signature", "signature"),
    Standing: ("get_api_vault_proposal_proposal_id", "proposal_id"),
}

# What any request can come to, whatever its route.
COMMON: tuple[type[BaseException], ...] = (
    errors.RateLimited,
    errors.Overloaded,
    errors.DatabaseUnavailable,
    trio.TooSlowError,
)


def openapi_document(app: Edge, routes: Iterable[Route]) -> dict[str, Any]:
    """The document for these routes, which are registered on `app`."""
    description = QuartSchema(
        info=Info(
            title="CVMS",
            version=metadata.version("cvms"),
            description=(
                "The Collateral Vault Management Service. Amounts are integers in the token's "
                "smallest unit, times RFC 3339 in UTC, errors RFC 9457 problems."
            ),
        ),
        tags=[Tag(name, text) for name, text in TAGS.items()],
        security_schemes={
            "admin": HttpSecurityScheme(scheme="bearer", bearer_format="JWT"),
        },
    )
    declared = {f"{route.method} {route.rule}": route for route in routes}
    return _Provider(app, description, declared).schema()


class _Provider(OpenAPIProvider):
    """quart-schema's document, with operations and schemas from our declarations."""

    def __init__(self, app: Edge, extension: QuartSchema, routes: Mapping[str, Route]) -> None:
        super().__init__(app, extension)
        self._routes = routes
        types = [
            kind
            for route in routes.values()
            for kind in (route.body, route.query, *route.replies.values())
            if kind is not None
        ]
        refs, self._components = msgspec.json.schema_components(
            types, schema_hook=schema_of, ref_template=_REF
        )
        self._schemas = dict(zip(map(_key, types), refs, strict=True))

    def generate_rules(self) -> Iterable[Rule]:
        return [rule for rule in self._app.url_map.iter_rules() if rule.endpoint in self._routes]

    def schema(self) -> dict[str, Any]:
        document: dict[str, Any] = super().schema()
        document["components"]["schemas"] = self._components | {"Problem": PROBLEM}
        document["paths"] = dict(sorted(document["paths"].items()))
        return document

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        route = self._routes[rule.endpoint]
        path = _PATH_VARIABLE.sub(r"{\1}", rule.rule)
        return {path: {route.method.lower(): self._operation(route)}}, {}

    def _operation(self, route: Route) -> dict[str, Any]:
        text = inspect.cleandoc(route.summary or _doc(route.handler))
        summary, _, description = text.partition("\n")
        operation: dict[str, Any] = {
            "operationId": _operation_id(route),
            "summary": summary,
            "tags": list(route.tags),
            "parameters": self._parameters(route),
            "responses": self._replies(route) | _problems(route),
        }
        if description.strip():
            operation["description"] = description.strip()
        if route.body is not None:
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": self._schema(route.body)}},
            }
        if route.auth in {Auth.ADMIN, Auth.WALLET_OR_ADMIN}:
            optional: list[dict[str, Any]] = [{}] if route.auth is Auth.WALLET_OR_ADMIN else []
            operation["security"] = [{"admin": []}, *optional]
        return operation

    def _parameters(self, route: Route) -> list[dict[str, Any]]:
        parameters = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": PATH_SCHEMAS.get(name, {"type": "string"}),
            }
            for name in _PATH_VARIABLE.findall(route.rule)
        ]
        if route.query is not None:
            component = self._components[self._schema(route.query)["$ref"].rpartition("/")[2]]
            required = component.get("required", [])
            parameters += [
                {"name": name, "in": "query", "required": name in required, "schema": schema}
                for name, schema in component["properties"].items()
            ]
        if route.idempotent:
            parameters.append(_header("Idempotency-Key", IDEMPOTENCY_KEY))
        if route.second_factor:
            parameters.append(_header("X-2FA-CODE", SECOND_FACTOR))
        return parameters

    def _replies(self, route: Route) -> dict[str, Any]:
        return {
            str(status): {"description": HTTPStatus(status).phrase}
            | ({} if kind is None else {"content": _json(self._schema(kind))})
            | ({} if kind not in LINKS else {"links": _link(*LINKS[kind])})
            for status, kind in route.replies.items()
        }

    def _schema(self, kind: Any) -> dict[str, Any]:
        return self._schemas[_key(kind)]


IDEMPOTENCY_KEY = {"type": "string", "pattern": "^[\\x21-\\x7e]{1,128}$"}
SECOND_FACTOR = {"type": "string", "pattern": "^([0-9]{6}|[A-Za-z0-9-]{8,24})$"}
PROBLEM = {
    "title": "A problem, RFC 9457",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string", "description": "A stable word for programs"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "program_error": {
            "type": "object",
            "required": ["code", "name", "msg"],
            "properties": {
                "code": {"type": ["integer", "null"]},
                "name": {"type": "string"},
                "msg": {"type": "string"},
            },
        },
        "logs": {"type": "array", "items": {"type": "string"}},
    },
}


def schema_of(kind: type) -> dict[str, Any]:
    """The schema of a type that is not msgspec's own."""
    if kind is Pubkey:
        return PUBKEY
    if kind is TokenAmount:
        return AMOUNT
    if kind is Exact:
        return {"type": "number"}
    raise NotImplementedError(kind)


def _problems(route: Route) -> dict[str, Any]:
    """Each status with the codes that it can have."""
    codes: dict[int, set[str]] = {}
    for kind in (*COMMON, *_implied(route), *route.refusals):
        if (outcome := outcome_of(kind)) is not None:
            codes.setdefault(outcome.status, set()).add(outcome.code)
    # What a path's variable cannot be is a path of no route.
    for status in (
        405,
        *((404,) if "<" in route.rule else ()),
        *((413, 415) if route.body is not None else ()),
    ):
        codes.setdefault(status, set()).add(HTTP_CODES[status])
    return {str(status): _problem(status, sorted(codes[status])) for status in sorted(codes)}


def _implied(route: Route) -> Iterable[type[BaseException]]:
    """The outcomes that follow from what the route takes."""
    if route.body is not None or route.query is not None or "<" in route.rule:
        yield errors.InvalidRequest
    if route.second_factor:
        yield from (errors.SecondFactorRequired, errors.InvalidSecondFactor)
        yield from (errors.SecondFactorUsed, errors.TwoFactorDisabled, errors.DecryptionFailed)
    if route.idempotent:
        yield errors.IdempotencyKeyReused
    if route.auth in {Auth.ADMIN, Auth.WALLET_OR_ADMIN}:
        yield from (errors.InvalidToken, errors.NotAllowed, errors.AdminDisabled)


def _problem(status: int, codes: list[str]) -> dict[str, Any]:
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    schema = {"allOf": [{"$ref": _REF.format(name="Problem")}, narrowed]}
    headers = {"Retry-After": {"schema": {"type": "string"}}} if status in {429, 503} else {}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
        "content": {"application/problem+json": {"schema": schema}},
        "headers": headers,
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _link(operation: str, field: str) -> dict[str, Any]:
    parameters = {field: f"$response.body#/{field}"}
    return {field: {"operationId": operation, "parameters": parameters}}


def _header(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema}


def _operation_id(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", f"{route.method.lower()} {route.rule}")
    return "_".join(words)


def _doc(view: Callable[..., Any]) -> str:
    return (view.func if isinstance(view, partial) else view).__doc__ or ""


def _key(kind: Any) -> str:
    return repr(kind)
