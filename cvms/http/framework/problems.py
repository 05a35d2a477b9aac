"""Every error as an RFC 9457 problem: one table maps errors to status, code and title."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
import trio
from werkzeug.exceptions import HTTPException

from cvms import errors
from cvms.http.framework.request import current_request_id
from cvms.http.framework.response import Reply, Response, json_response
from cvms.log.fields import bind_log_fields

log = structlog.get_logger(__name__)

LOG_LINES_SHOWN = 10
MAX_ERROR_LOGGED = 1000
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a client sees it: the members of RFC 9457, and `extra` ones of our own."""

    status: int
    code: str
    detail: str
    extra: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The title of the problem's code: as RFC 9457 asks, always the same."""
        return TITLES[self.code]


OUTCOMES: dict[type[BaseException], tuple[int, str, str]] = {
    errors.InvalidRequest: (400, "invalid_request", "Invalid request"),
    errors.InvalidSignature: (401, "invalid_signature", "Invalid signature"),
    errors.NonceUnknown: (401, "invalid_nonce", "Unknown nonce"),
    errors.NonceExpired: (401, "nonce_expired", "Nonce expired"),
    errors.NonceUsed: (409, "nonce_used", "Nonce already used"),
    errors.SecondFactorRequired: (401, "second_factor_required", "Second factor required"),
    errors.InvalidSecondFactor: (401, "invalid_second_factor", "Invalid second-factor code"),
    errors.SecondFactorUsed: (409, "second_factor_used", "Second-factor code already used"),
    errors.InvalidToken: (401, "invalid_token", "Invalid administrator token"),
    errors.NotAllowed: (403, "not_allowed", "Role not sufficient"),
    errors.VaultNotFound: (404, "vault_not_found", "Vault not found"),
    errors.BalanceNotKnown: (404, "balance_not_known", "Balance not known"),
    errors.SlotNotIndexed: (422, "slot_not_indexed", "Slot not indexed yet"),
    errors.NotFound: (404, "not_found", "Resource not found"),
    errors.Conflict: (409, "conflict", "Conflict with the current state"),
    errors.SettlementContradicted: (409, "settlement_contradicted", "Settlement contradicted"),
    errors.NoMultisig: (409, "no_multisig", "Vault without multisig"),
    errors.MultisigMismatch: (409, "multisig_mismatch", "Multisig mismatch"),
    errors.NotASigner: (403, "not_a_signer", "Not a signer of the proposal"),
    errors.ProposalExpired: (409, "proposal_expired", "Proposal expired"),
    errors.ProposalCancelled: (409, "proposal_cancelled", "Proposal cancelled"),
    errors.ProposalCompleted: (409, "proposal_completed", "Proposal already submitted"),
    errors.IdempotencyKeyReused: (409, "idempotency_key_reused", "Idempotency key reused"),
    errors.ApprovalEnded: (409, "approval_ended", "Approval already ended"),
    errors.TooManyApprovals: (429, "too_many_approvals", "Too many requests wait for approval"),
    errors.TransferLimitReached: (429, "transfer_limit_reached", "Transfer limit reached"),
    errors.TransferNotAllowed: (422, "transfer_not_allowed", "Transfer not allowed"),
    errors.UnknownTransaction: (422, "unknown_transaction", "Unknown transaction"),
    errors.TransactionExpired: (422, "transaction_expired", "Transaction expired"),
    errors.YieldProgramUnsupported: (422, "yield_program_unsupported", "Unsupported yield program"),
    errors.InsufficientLamports: (422, "insufficient_funds", "Insufficient lamports"),
    errors.RateLimited: (429, "rate_limited", "Rate limit exceeded"),
    errors.SponsorshipExhausted: (429, "sponsorship_exhausted", "Fee sponsorship exhausted"),
    errors.NotSponsored: (422, "not_sponsored", "Transaction not sponsored"),
    errors.SponsorshipPaused: (503, "sponsorship_paused", "Fee sponsorship paused"),
    errors.ProgramRefused: (422, "program_error", "Transaction rejected by the chain"),
    errors.DatabaseUnavailable: (503, "database_unavailable", "Database unavailable"),
    errors.ChainTimeout: (504, "chain_timeout", "Chain request timed out"),
    errors.ChainUnavailable: (503, "chain_unavailable", "Chain unavailable"),
    errors.RpcError: (502, "chain_error", "Chain node error"),
    errors.DecodeError: (502, "chain_data_unreadable", "Chain data unreadable"),
    errors.AdminDisabled: (503, "admin_disabled", "Administration disabled"),
    errors.TwoFactorDisabled: (503, "twofa_disabled", "Second factors disabled"),
    errors.EncryptionDisabled: (503, "sealing_disabled", "Encryption disabled"),
    errors.DecryptionFailed: (503, "sealed_data_unreadable", "Stored secret unreadable"),
    errors.Overloaded: (503, "overloaded", "Service overloaded"),
    trio.TooSlowError: (504, "deadline_exceeded", "Request deadline exceeded"),
}

HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
}

TITLES = {code: title for _, code, title in OUTCOMES.values()} | {
    "method_not_allowed": "Method not allowed",
    "request_timeout": "Request timed out",
    "body_too_large": "Request body too large",
    "unsupported_media_type": "Unsupported media type",
    "not_ready": "Service not ready",
    "internal_error": "Internal error",
}

_NEW_NONCE = "Request one with POST /api/auth/nonce, and sign the request with it."
_NOT_SUBMITTED = "Nothing was submitted. Try again in a moment."
# Details that do not come from the exception: the text of a node or a driver may name hosts and
# queries, and nonce errors have no text.
_FIXED_DETAIL: dict[type[BaseException], str] = {
    errors.NonceUnknown: f"The nonce was not issued to this wallet. {_NEW_NONCE}",
    errors.NonceExpired: f"The nonce has expired. {_NEW_NONCE}",
    errors.NonceUsed: f"The nonce has been used by an earlier request. {_NEW_NONCE}",
    errors.DatabaseUnavailable: "Try again in a moment; a nonce still takes effect only once.",
    errors.ChainTimeout: _NOT_SUBMITTED,
    errors.ChainUnavailable: _NOT_SUBMITTED,
    errors.RpcError: _NOT_SUBMITTED,
    errors.DecodeError: "Nothing was submitted. An account on the chain has an unknown layout.",
    trio.TooSlowError: "The request may have taken effect. Check the state before you try again.",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row of the table; `kind` is the exception class that it is for."""

    kind: type[BaseException]
    status: int
    code: str
    title: str


def outcome_of(kind: type[BaseException]) -> Outcome | None:
    """Return the row of an error's class or of its nearest base class; None if there is none."""
    for each in kind.__mro__:
        if each in OUTCOMES:
            return Outcome(each, *OUTCOMES[each])
    return None


def problem_of(error: BaseException) -> Problem | None:
    """Return the problem of an error that is in the table; None for an unexpected error."""
    if isinstance(error, HTTPException):
        return _of_http(error)
    outcome = outcome_of(type(error))
    if outcome is None:
        return None
    detail = _FIXED_DETAIL.get(outcome.kind) or str(error) or f"{outcome.title}."
    headers = _headers(outcome.status, error)
    return Problem(outcome.status, outcome.code, detail, _extra(error), headers)


def unexpected() -> Problem:
    """Return the problem of a fault of ours. It shows only the id under which it is logged."""
    detail = (
        f"The error is logged with the request id {current_request_id()}. The request may have "
        "taken effect: check the state before you try again."
    )
    return Problem(500, "internal_error", detail)


def resolve(error: BaseException) -> Problem:
    """Choose one problem for an error or an exception group, and log what it does not say.

    An unexpected member of a group wins over expected ones: the outcome is then unknown, and the
    client must not take it for an orderly refusal.
    """
    members = [each for each in errors.leaves(error) if not isinstance(each, trio.Cancelled)]
    problems = []
    for member in members:
        problem = problem_of(member)
        if problem is None:
            log.error("request_failed", exc_info=member)
        else:
            problems.append(problem)
    if len(problems) < len(members) or not problems:
        return unexpected()
    answered, *others = members
    if problems[0].status >= 500:
        bind_log_fields(error=str(answered)[:MAX_ERROR_LOGGED])
    for other in others:
        log.warning("secondary_error_raised", exc_info=other)
    return problems[0]


def problem_response(problem: Problem) -> Response:
    """Return the problem as `application/problem+json`, with the id of the current request.

    Its code becomes a field of the task's lines.
    """
    body = {
        "type": f"urn:cvms:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:cvms:request:{current_request_id()}",
        "code": problem.code,
        **problem.extra,
    }
    headers = {"Content-Type": "application/problem+json", **problem.headers}
    bind_log_fields(code=problem.code)
    return Response(msgspec.json.encode(body), problem.status, headers)


def response_of(outcome: Reply | errors.CvmsError) -> Response:
    """Return the response for a reply or an error."""
    if isinstance(outcome, errors.CvmsError):
        return problem_response(problem_of(outcome) or unexpected())
    return json_response(outcome.value, outcome.status)


def not_ready(
    parts: dict[str, Any], checks: dict[str, Any], warnings: Mapping[str, str]
) -> Problem:
    """Return the problem of /ready, which names each part that is not ok."""
    failing = [f"{name}: {part['detail']}" for name, part in parts.items() if not part["ok"]]
    details = {"parts": parts, "checks": checks, "warnings": dict(warnings)}
    return Problem(503, "not_ready", ", ".join(failing), details, _headers(503))


def no_traffic(trouble: str) -> Problem:
    """Return the problem of /ready/traffic."""
    return Problem(503, "not_ready", trouble, {}, _headers(503))


def program_error(error: errors.ProgramRefused) -> dict[str, Any]:
    """Return an on-chain refusal as JSON: the program's own error code, name and message."""
    return {"code": error.code, "name": error.name, "msg": error.msg}


def _of_http(error: HTTPException) -> Problem:
    status = error.code or 500
    code = HTTP_CODES.get(status, "invalid_request" if status < 500 else "internal_error")
    headers = {
        name: value
        for name, value in error.get_headers()
        if name.lower() in {"allow", "retry-after"}
    }
    return Problem(status, code, error.description or f"{TITLES[code]}.", {}, headers)


def _extra(error: BaseException) -> dict[str, Any]:
    match error:
        case errors.InvalidRequest(problems=problems) if problems:
            return {"errors": [{"path": p.path, "message": p.message} for p in problems]}
        case errors.TransferLimitReached(limit=limit, used=used, available_at=available_at):
            return {"limit": limit, "used": used, "available_at": available_at}
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
        # RFC 9110, 11.6.1: a 401 names a scheme. Ours is the wallet's signature in the body.
        return {"WWW-Authenticate": "Wallet-Signature"}
    if status in {502, 503, 504} or isinstance(error, errors.MinSlotNotIndexed):
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return {}


def unknown_vault(owner: str) -> errors.VaultNotFound:
    """Return the error for an owner without a vault."""
    return errors.VaultNotFound(
        f"{owner} has no vault. Create one with POST /api/vault/initialize, "
        "sign the transaction, and submit it with POST /api/transactions."
    )
