"""Every error as an RFC 9457 problem: one table from outcomes to status, code and title."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
import trio
from quart import Response
from structlog.contextvars import get_contextvars
from werkzeug.exceptions import HTTPException

from cvms import errors

log = structlog.get_logger(__name__)

LOG_LINES_SHOWN = 10
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """What a client is told: the members of RFC 9457, and `extra` ones of ours."""

    status: int
    code: str
    title: str
    detail: str
    extra: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


OUTCOMES: dict[type[BaseException], tuple[int, str, str]] = {
    errors.InvalidRequest: (400, "invalid_request", "The request is malformed"),
    errors.InvalidSignature: (401, "invalid_signature", "The signature does not verify"),
    errors.NonceUnknown: (401, "invalid_nonce", "The nonce was not issued to this owner"),
    errors.NonceExpired: (401, "nonce_expired", "The nonce has expired"),
    errors.NonceUsed: (409, "nonce_used", "The nonce has already been used"),
    errors.SecondFactorRequired: (401, "second_factor_required", "A second factor is needed"),
    errors.InvalidSecondFactor: (401, "invalid_second_factor", "The code is not right"),
    errors.SecondFactorUsed: (409, "second_factor_used", "The code has already been used"),
    errors.InvalidToken: (401, "invalid_token", "No valid administrator's token"),
    errors.NotAllowed: (403, "not_allowed", "The role does not reach so far"),
    errors.VaultNotFound: (404, "vault_not_found", "There is no vault of this owner"),
    errors.BalanceNotKnown: (404, "balance_not_known", "Nothing is known of that slot"),
    errors.SlotNotIndexed: (422, "slot_not_indexed", "The slot is not indexed yet"),
    errors.NotFound: (404, "not_found", "What the request names does not exist"),
    errors.Conflict: (409, "conflict", "The request contradicts what is there"),
    errors.NoMultisig: (409, "no_multisig", "The vault has no multisig"),
    errors.MultisigMismatch: (409, "multisig_mismatch", "The vault's multisig is another"),
    errors.NotASigner: (403, "not_a_signer", "Not one of the proposal's signers"),
    errors.ProposalExpired: (409, "proposal_expired", "The proposal has expired"),
    errors.ProposalCancelled: (409, "proposal_cancelled", "The vault's multisig has changed"),
    errors.ProposalCompleted: (409, "proposal_completed", "The proposal has been submitted"),
    errors.IdempotencyKeyReused: (409, "idempotency_key_reused", "The key came before"),
    errors.UnknownTransaction: (422, "unknown_transaction", "Not a transaction built here"),
    errors.TransactionExpired: (422, "transaction_expired", "The transaction has expired"),
    errors.YieldProgramUnsupported: (
        422,
        "yield_program_unsupported",
        "The service has no pool of the yield program",
    ),
    errors.RateLimited: (429, "rate_limited", "Too many requests"),
    errors.SponsorshipExhausted: (429, "sponsorship_exhausted", "No more fees are paid today"),
    errors.NotSponsored: (422, "not_sponsored", "The service does not sign this transaction"),
    errors.SponsorshipPaused: (503, "sponsorship_paused", "The service pays no fees at present"),
    errors.ProgramRefused: (422, "program_error", "The chain refuses the transaction"),
    errors.DatabaseUnavailable: (503, "database_unavailable", "The database does not answer"),
    errors.ChainTimeout: (504, "chain_timeout", "The chain takes too long to answer"),
    errors.ChainUnavailable: (503, "chain_unavailable", "The chain does not answer"),
    errors.RpcError: (502, "chain_error", "The chain's node answered with an error"),
    errors.DecodeError: (502, "chain_data_unreadable", "The chain's data is not understood"),
    errors.AdminDisabled: (503, "admin_disabled", "The administrators' routes are off"),
    errors.TwoFactorDisabled: (503, "twofa_disabled", "Second factors are off"),
    errors.EncryptionDisabled: (503, "sealing_disabled", "Secrets cannot be kept here"),
    errors.DecryptionFailed: (
        503,
        "sealed_data_unreadable",
        "What was kept sealed cannot be opened",
    ),
    errors.Overloaded: (503, "overloaded", "Too many requests are in flight"),
    trio.TooSlowError: (504, "deadline_exceeded", "The request took too long"),
}

HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
}

# What a node or a driver says may name hosts and queries: clients get a sentence of ours instead.
_PLAIN_DETAIL: dict[type[BaseException], str] = {
    errors.DatabaseUnavailable: "Try again in a moment; a nonce still takes effect only once.",
    errors.ChainTimeout: "Nothing was submitted. Try again in a moment.",
    errors.ChainUnavailable: "Nothing was submitted. Try again in a moment.",
    errors.RpcError: "Nothing was submitted. Try again in a moment.",
    errors.DecodeError: "Nothing was submitted. An account on the chain has another layout.",
    trio.TooSlowError: "Look at the state of what was asked for before you ask again.",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row of the table; `kind` is the class that it stands for."""

    kind: type[BaseException]
    status: int
    code: str
    title: str


def outcome_of(kind: type[BaseException]) -> Outcome | None:
    """The row of an error's class, or of the nearest class above it."""
    for each in kind.__mro__:
        if each in OUTCOMES:
            return Outcome(each, *OUTCOMES[each])
    return None


def problem_of(error: BaseException) -> Problem | None:
    """The problem for an outcome that has a place in the table; None for anything unexpected."""
    if isinstance(error, HTTPException):
        return _of_http(error)
    outcome = outcome_of(type(error))
    if outcome is None:
        return None
    detail = _PLAIN_DETAIL.get(outcome.kind) or str(error) or f"{outcome.title}."
    return Problem(
        outcome.status,
        outcome.code,
        outcome.title,
        detail,
        _extra(error),
        _headers(outcome.status, error),
    )


def unexpected() -> Problem:
    """The problem for a fault of ours. It tells nothing but the id under which it is logged."""
    detail = f"The fault is logged as {_request_id()}. Look at the state before you ask again."
    return Problem(500, "internal_error", "Something went wrong here", detail)


def resolve(error: BaseException) -> Problem:
    """Settle on one problem for an error or an exception group, and log what it does not say.

    An unexpected member of a group wins over the handled ones: the outcome is not known then,
    and a client must not take it for an orderly refusal.
    """
    members = [each for each in errors.leaves(error) if not isinstance(each, trio.Cancelled)]
    known = [(each, problem_of(each)) for each in members]
    strange = [each for each, problem in known if problem is None]
    for each in strange:
        log.error("request_failed", exc_info=each)
    problems = [problem for _, problem in known if problem is not None]
    if strange or not problems:
        return unexpected()
    for each, problem in known:
        if problem is not problems[0]:
            log.warning("error_beside_the_one_answered", exc_info=each)
        elif problem is not None and problem.status >= 500:
            log.warning("request_refused", code=problem.code, error=str(each))
    return problems[0]


def problem_response(problem: Problem) -> Response:
    body = {
        "type": f"urn:cvms:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:cvms:request:{_request_id()}",
        "code": problem.code,
        **problem.extra,
    }
    return Response(
        msgspec.json.encode(body),
        status=problem.status,
        content_type="application/problem+json",
        headers=problem.headers,
    )


def not_ready(parts: dict[str, Any]) -> Problem:
    """The problem of /ready: what is not well, by name."""
    named = ", ".join(f"{name}: {part['detail']}" for name, part in parts.items() if not part["ok"])
    return Problem(
        503, "not_ready", "The service is not ready", named, {"parts": parts}, _headers(503)
    )


def program_error(error: errors.ProgramRefused) -> dict[str, Any]:
    """An on-chain refusal under the program's own name for it."""
    return {"code": error.code, "name": error.name, "msg": error.msg}


def _request_id() -> str:
    # Bound by the edge, so that a client's report leads to the log's lines.
    return str(get_contextvars().get("request_id", ""))


def _of_http(error: HTTPException) -> Problem:
    status = error.code or 500
    code = HTTP_CODES.get(status, "invalid_request" if status < 500 else "internal_error")
    headers = {
        name: value
        for name, value in error.get_headers()
        if name.lower() in {"allow", "retry-after"}
    }
    return Problem(status, code, error.name, error.description or error.name, {}, headers)


def _extra(error: BaseException) -> dict[str, Any]:
    match error:
        case errors.InvalidRequest(problems=problems) if problems:
            return {"errors": [{"path": p.path, "message": p.message} for p in problems]}
        case errors.ProgramRefused():
            return {
                "program_error": program_error(error),
                "logs": list(error.logs[-LOG_LINES_SHOWN:]),
            }
    return {}


def _headers(status: int, error: BaseException | None = None) -> dict[str, str]:
    if isinstance(error, errors.RateLimited):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, errors.InvalidToken):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, errors.SecondFactorRequired | errors.InvalidSecondFactor):
        return {"WWW-Authenticate": "Second-Factor"}
    if status == 401:
        # RFC 9110, 11.6.1: a 401 names the scheme; ours is the wallet's signature in the body.
        return {"WWW-Authenticate": "Wallet-Signature"}
    if status in {502, 503, 504}:
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return {}
