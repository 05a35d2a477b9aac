"""The OpenAPI 3.1 document, generated from the declarations of the routes.

quart-schema assembles the document. The schemas are msgspec's, of the same types that validate
bodies and queries.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from importlib import metadata
from typing import Any

import trio
from quart_schema import QuartSchema
from quart_schema.openapi import HttpSecurityScheme, Info, OpenAPIProvider, Tag
from werkzeug.routing.rules import Rule

from cvms import errors
from cvms.http.auth.signed_texts import TEXT_OF_ROUTE
from cvms.http.framework import schemas
from cvms.http.framework.admin_tokens import Role
from cvms.http.framework.edge import ALWAYS_ANSWERED, Edge
from cvms.http.framework.problems import HTTP_CODES, outcome_of
from cvms.http.framework.request import MAX_AMOUNT
from cvms.http.framework.routing import Auth, Route, has_amounts, template_of
from cvms.http.multisig.proposal_view import ProposalView
from cvms.http.service_info.component_schemas import PUBKEY, REF, ComponentSchemas

TAGS = {
    "operation": "Health, readiness, metrics and interface descriptions",
    "authentication": "Nonces for signed requests",
    "second factor": "One-time codes in addition to the wallet's signature",
    "vaults": "Vaults, their balances and their history",
    "guards": "An owner's guards against a stolen key, the exit, and stray tokens",
    "multisig": "Withdrawals that need several signers",
    "analytics": "Statistics of all vaults over time",
    "positions": "Collateral locked for positions",
    "yield": "Yield earned in lending pools",
    "transactions": "Submission and state of transactions",
    "proofs": "Proofs of reserves, which anybody can verify",
    "administration": "Routes for operators and governance",
    "webhooks": "URLs of integrators, which get the events of a vault or of all",
}

_PATH_VARIABLE = re.compile(r"<(?:[^:>]*:)?([^>]+)>")


SIGNATURE = {
    "type": "string",
    "description": "Transaction signature in base58",
    "format": "solana-signature",
    "pattern": "^[1-9A-HJ-NP-Za-km-z]{64,88}$",
}
# By the variable's name, which means the same in every route.
PATH_SCHEMAS: Mapping[str, dict[str, Any]] = {
    "owner": PUBKEY,
    "signature": SIGNATURE,
    "proposal_id": {"type": "string", "format": "uuid"},
    "approval_id": {"type": "string", "format": "uuid"},
    "alert_id": {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_AMOUNT},
}

# Replies that identify something another operation returns: the operation, and the field.
LINKS: Mapping[tuple[int, Any], tuple[str, str]] = {
    (202, schemas.Submitted): ("getTransaction", "signature"),
    (202, schemas.Requested): ("getTransaction", "signature"),
    (202, schemas.Accepted): ("getTransaction", "signature"),
    (200, ProposalView): ("getProposal", "proposal_id"),
}

# Errors that a request can end in, whatever its route; probes are never refused.
COMMON: tuple[type[BaseException], ...] = (
    errors.RateLimited,
    errors.Overloaded,
    errors.DatabaseUnavailable,
)


def openapi_document(app: Edge, routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document for these routes, which must be registered on `app`."""
    extension = QuartSchema(
        info=Info(
            title="CVMS",
            version=metadata.version("cvms"),
            description=(
                "The Collateral Vault Management Service. Amounts are integers in the token's "
                "smallest unit, times are RFC 3339 in UTC, errors are RFC 9457 problems. "
                "With `Accept: application/json; amounts=string` or `?amounts=string`, replies "
                "carry the fields with `x-amount` as strings."
            ),
        ),
        tags=[Tag(name, text) for name, text in TAGS.items()],
        security_schemes={
            "admin": HttpSecurityScheme(scheme="bearer", bearer_format="JWT"),
        },
    )
    declared = {f"{route.method} {route.rule}": route for route in routes}
    return _Provider(app, extension, declared).schema()


class _Provider(OpenAPIProvider):
    """quart-schema's document, with operations and schemas from the routes' declarations."""

    def __init__(self, app: Edge, extension: QuartSchema, routes: Mapping[str, Route]) -> None:
        super().__init__(app, extension)
        self._routes = routes
        inputs = [kind for route in routes.values() for kind in (route.body, route.query) if kind]
        replies = [kind for route in routes.values() for kind in route.replies.values() if kind]
        self._schemas = ComponentSchemas(requests=inputs, replies=replies)
        self._queries = {route.query.__name__ for route in routes.values() if route.query}

    def generate_rules(self) -> Iterable[Rule]:
        return [rule for rule in self._app.url_map.iter_rules() if rule.endpoint in self._routes]

    def schema(self) -> dict[str, Any]:
        document: dict[str, Any] = super().schema()
        document["info"]["license"] = LICENSE
        document["servers"] = [{"url": "/", "description": "The service with this document"}]
        # The fields of a query are parameters of its operations.
        components = self._schemas.components
        shown = {name: components[name] for name in components if name not in self._queries}
        document["components"]["schemas"] = shown | PROBLEMS
        document["paths"] = dict(sorted(document["paths"].items()))
        return document

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        route = self._routes[rule.endpoint]
        path = template_of(rule.rule)
        return {path: {route.method.lower(): self._operation(route)}}, {}

    def _operation(self, route: Route) -> dict[str, Any]:
        summary, _, text = (inspect.getdoc(route.handler) or "").partition("\n\n")
        operation: dict[str, Any] = {
            "operationId": _operation_id(route),
            "summary": summary.removesuffix("."),
            "description": "\n\n".join(filter(None, [text, *_notes(route)])),
            "tags": list(route.tags),
            "parameters": self._parameters(route),
            "responses": self._replies(route) | _problems(route),
        }
        if route.body is not None:
            content = _json(self._schemas.of(route.body))
            operation["requestBody"] = {"required": True, "content": content}
        # The signature of a wallet is a field of the body, which no scheme describes.
        admin: list[dict[str, Any]] = (
            [] if route.auth in {Auth.NONE, Auth.WALLET} else [{"admin": []}]
        )
        optional: list[dict[str, Any]] = [{}] if admin and route.auth is not Auth.ADMIN else []
        operation["security"] = [*admin, *optional]
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
            component = self._schemas.component_of(route.query)
            required = component.get("required", [])
            parameters += [
                {"name": name, "in": "query", "required": name in required, "schema": schema}
                for name, schema in component["properties"].items()
            ]
        if route.indexed:
            parameters.append(_header("X-Min-Slot", MIN_SLOT))
        if route.idempotent:
            parameters.append(_header("Idempotency-Key", IDEMPOTENCY_KEY))
        if route.second_factor:
            parameters.append(_header("X-2FA-CODE", SECOND_FACTOR))
        return parameters

    def _replies(self, route: Route) -> dict[str, Any]:
        return {
            str(status): {"description": HTTPStatus(status).phrase}
            | self._content(route, status, kind)
            | ({"headers": {"X-Slot": SLOT_HEADER}} if route.indexed else {})
            | ({"links": _link(*LINKS[status, kind])} if (status, kind) in LINKS else {})
            for status, kind in route.replies.items()
        }

    def _content(self, route: Route, status: int, kind: Any) -> dict[str, Any]:
        content = {} if kind is None else _json(self._schemas.of(kind))
        if route.media_type and status == HTTPStatus.OK:
            content[route.media_type] = {"schema": {"type": "string"}}
        return {"content": content} if content else {}


# What a request must carry, for each way to authenticate.
CREDENTIALS = {
    Auth.NONE: "Requires neither a signed request nor a token.",
    Auth.OPTIONAL_ADMIN: (
        "Requires neither a signed request nor a token; says more to administrators."
    ),
    Auth.WALLET: (
        "Requires the wallet's signature of the text above, or of a `message` that states it. The "
        "nonce is consumed together with the effect; a request with a used "
        "nonce gets 409 `nonce_used`."
    ),
    Auth.ADMIN: "Requires an administrator token with {role}.",
    Auth.WALLET_OR_ADMIN: (
        "Requires the owner's signature of the text above, or of a `message` that states it, or "
        "else an administrator token with {role}."
    ),
}


def _notes(route: Route) -> Iterator[str]:
    """Yield the paragraphs of the description that follow from the route's declaration."""
    if (signed := TEXT_OF_ROUTE.get(f"{route.method} {route.rule}")) is not None:
        yield f"The wallet of `{signed.signer}` signs `{signed.template}`."
    higher = "" if route.role is max(Role) else " or a higher one"
    yield CREDENTIALS[route.auth].format(role=f"the role `{route.role.label}`{higher}")
    if route.second_factor:
        yield "If the owner has enabled a second factor, `X-2FA-CODE` must hold an unused code."
    if route.indexed:
        yield (
            "Every transaction up to slot `X-Slot` is in the reply, if it has that header. With "
            "`X-Min-Slot` it has, and the slot is that one or a later one; 422 `slot_not_indexed` "
            "while it is not indexed."
        )
    if route.idempotent:
        yield (
            "A repeated request with the same `Idempotency-Key` gets the first answer and has no "
            "second effect. Keys are kept for one day."
        )
    if route.replies.get(200) in {schemas.CoSign, schemas.Requested}:
        yield (
            "200: sign `transaction` with the wallet and post it to `/api/transactions` before "
            "the block height passes `last_valid_block_height`."
        )
    if route.replies.get(202) in {schemas.Submitted, schemas.Requested}:
        yield (
            "202: the service has signed and stored the transaction and is submitting it. Follow "
            "it with `GET /api/transactions/{signature}`."
        )
    if has_amounts(route):
        yield "Amounts are strings if asked for, in the query or in `Accept`."
    if 304 in route.replies:
        yield "304: the `ETag` in `If-None-Match` is still current."


LICENSE = {"name": "ISC", "identifier": "ISC"}
MIN_SLOT = {"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_AMOUNT}
SLOT_HEADER = {"required": False, "schema": MIN_SLOT}
IDEMPOTENCY_KEY = {"type": "string", "pattern": "^[\\x21-\\x7e]{1,128}$"}
SECOND_FACTOR = {"type": "string", "pattern": "^([0-9 -]{6,12}|[A-Za-z0-9 -]{8,24})$"}
PROBLEM = {
    "description": "A problem as in RFC 9457",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer", "format": "int32", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string", "description": "Stable identifier of the kind of problem"},
        "errors": {"type": "array", "items": {"$ref": REF.format(name="FieldProblem")}},
        "program_error": {"$ref": REF.format(name="ProgramError")},
        "logs": {"type": "array", "items": {"type": "string"}},
        "limit": {"type": "integer", "format": "int64", "description": "Of a day's transfers"},
        "used": {"type": "integer", "format": "int64", "description": "Of the limit"},
        "available_at": {"type": "string", "format": "date-time"},
    },
}
FIELD_PROBLEM = {
    "description": "A field of the request and what is wrong with it",
    "type": "object",
    "required": ["path", "message"],
    "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
}
PROGRAM_ERROR = {
    "description": "Why the program on the chain refuses",
    "type": "object",
    "required": ["code", "name", "msg"],
    "properties": {
        "code": {"type": ["integer", "null"], "format": "int64"},
        "name": {"type": "string"},
        "msg": {"type": "string"},
    },
}
PROBLEMS = {"Problem": PROBLEM, "FieldProblem": FIELD_PROBLEM, "ProgramError": PROGRAM_ERROR}


def _problems(route: Route) -> dict[str, Any]:
    """Return the responses for problems: for each status the codes that it can have."""
    codes: dict[int, set[str]] = {}
    always = () if route.rule in ALWAYS_ANSWERED else COMMON
    for kind in (*always, trio.TooSlowError, *_implied(route), *route.refusals):
        if (outcome := outcome_of(kind)) is not None:
            codes.setdefault(outcome.status, set()).add(outcome.code)
    # A path whose variable does not match belongs to no route.
    for status in (
        405,
        *((404,) if "<" in route.rule else ()),
        *((408, 413, 415) if route.body is not None else ()),
    ):
        codes.setdefault(status, set()).add(HTTP_CODES[status])
    codes.setdefault(500, set()).add("internal_error")
    if route.rule in {"/ready", "/ready/traffic"}:
        codes.setdefault(503, set()).add("not_ready")
    return {str(status): _problem(status, sorted(codes[status])) for status in sorted(codes)}


def _implied(route: Route) -> Iterable[type[BaseException]]:
    """Yield the errors that follow from what the route takes."""
    if route.body is not None or route.query is not None or route.indexed or "<" in route.rule:
        yield errors.InvalidRequest
    if route.indexed:
        yield errors.MinSlotNotIndexed
    if route.second_factor:
        yield from (errors.SecondFactorRequired, errors.InvalidSecondFactor)
        yield from (errors.SecondFactorUsed, errors.TwoFactorDisabled, errors.DecryptionFailed)
    if route.idempotent:
        yield errors.IdempotencyKeyReused
    if route.auth in {Auth.ADMIN, Auth.WALLET_OR_ADMIN}:
        yield from (errors.InvalidToken, errors.NotAllowed, errors.AdminDisabled)


def _problem(status: int, codes: list[str]) -> dict[str, Any]:
    schema = {"$ref": REF.format(name="Problem")}
    headers = {"Retry-After": {"schema": {"type": "string"}}} if status in {429, 503} else {}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
        "content": {"application/problem+json": {"schema": schema}},
        "headers": headers,
        "x-codes": codes,
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _link(operation: str, field: str) -> dict[str, Any]:
    parameters = {field: f"$response.body#/{field}"}
    return {field: {"operationId": operation, "parameters": parameters}}


def _header(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema}


def _operation_id(route: Route) -> str:
    first, *others = (route.name or route.handler.__name__).split("_")
    return first + "".join(map(str.capitalize, others))
