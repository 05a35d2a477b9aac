"""Errors, one class for each outcome. `cvms/http/framework/problems.py` maps them to replies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in nested groups. A plain exception yields itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def only(error: BaseException) -> BaseException:
    """Return the only exception in nested groups, or the group that has several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def one_line(error: BaseException) -> str:
    """Return an error's text as one line; libpq's have several."""
    return " ".join(str(error).split()) or type(error).__name__


class CvmsError(Exception):
    """Base class of the errors that CVMS defines."""


class ConfigurationError(CvmsError):
    """A setting is missing or has a bad value, or a resource it names cannot be used."""


class SchemaMismatch(ConfigurationError):
    """The database's schema is not one that this code may work with."""


class BadValue(ValueError):
    """A setting's value cannot be used. The message names the part at fault, and quotes nothing."""


# --- errors of a request -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One error in a request: the JSON path, such as `amount`, and a message."""

    path: str
    message: str


class InvalidRequest(CvmsError):
    """The request is malformed: invalid JSON, missing or invalid fields (400)."""

    def __init__(self, detail: str, problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(detail)
        self.problems = tuple(problems)


class InvalidSignature(CvmsError):
    """The wallet's signature does not verify for the text of this request (401)."""


class NonceUnknown(CvmsError):
    """The nonce was not issued to this wallet (401)."""


class NonceExpired(CvmsError):
    """The nonce was issued but has expired (401)."""


class NonceUsed(CvmsError):
    """The nonce was already used (409)."""


class SecondFactorRequired(CvmsError):
    """The owner has a second factor, and the request has no code (401)."""


class InvalidSecondFactor(CvmsError):
    """The code is not valid for the owner at this time (401)."""


class SecondFactorUsed(CvmsError):
    """The code, or a later one, was already used (409)."""


class InvalidToken(CvmsError):
    """The administrator's token is missing, forged, expired or for another service (401)."""


class NotAllowed(CvmsError):
    """The administrator's role is not sufficient (403)."""


class NotFound(CvmsError):
    """An object that the request names does not exist, such as a transaction (404)."""


class VaultNotFound(NotFound):
    """The owner has no vault yet, and must initialize one first (404)."""


class BalanceNotKnown(NotFound):
    """The slot is before the first known slot of the vault (404)."""


class SlotNotIndexed(CvmsError):
    """The slot is not indexed yet (422)."""


class MinSlotNotIndexed(SlotNotIndexed):
    """The slot that the answer must be true for is not indexed yet: ask again soon (422)."""


class Conflict(CvmsError):
    """The request conflicts with the current state (409)."""


class IdempotencyKeyReused(Conflict):
    """The Idempotency-Key was already used for a different request (409)."""


class SettlementContradicted(Conflict):
    """The evidence contradicts the outcome as which a submission is to be settled (409)."""


class NoMultisig(Conflict):
    """The vault has no multisig, so there are no signers to propose to (409)."""


class MultisigMismatch(Conflict):
    """The request's threshold or signers differ from the vault's on the chain (409)."""


class NotASigner(CvmsError):
    """The request was not signed by one of the proposal's signers (403)."""


class ProposalEnded(Conflict):
    """The proposal accepts no more approvals and signatures (409)."""


class ProposalExpired(ProposalEnded):
    """The proposal has expired. Propose again (409)."""


class ProposalCancelled(ProposalEnded):
    """The vault's signers or threshold have changed on the chain since. Propose again (409)."""


class ProposalCompleted(ProposalEnded):
    """The proposal's transaction was already submitted (409)."""


class ApprovalEnded(Conflict):
    """The approval is decided or expired, or its requester's token was revoked (409)."""


class UnknownTransaction(CvmsError):
    """The service did not build the submitted transaction's message (422)."""


class YieldProgramUnsupported(CvmsError):
    """Vaults may use the yield program, but no pool of it is configured (422)."""


class TransactionExpired(CvmsError):
    """The transaction's block hash has expired. Build a new transaction (422)."""


class ProgramRefused(CvmsError):
    """A program refuses the instruction, in simulation or on the chain (422).

    `code` is the custom error code (from 6000 on for the program's own), `logs` the last lines.
    `advice` says what to do.
    """

    def __init__(
        self, *, code: int | None, name: str, msg: str, advice: str = "", logs: Sequence[str] = ()
    ) -> None:
        super().__init__(f"{name}: {msg}. {advice}." if advice else f"{name}: {msg}")
        self.code = code
        self.name = name
        self.msg = msg
        self.logs = tuple(logs)


class InsufficientLamports(CvmsError):
    """Who has to pay the rent or the fee of a transaction has too little SOL (422)."""


class RateLimited(CvmsError):
    """The client has exceeded a rate limit. `retry_after` is in seconds (429)."""

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class SponsorshipExhausted(RateLimited):
    """The day's budget of sponsored fees is used up, for this owner or for all (429)."""


class TooManyApprovals(RateLimited):
    """An administrator has as many requests that wait for approval as one may have (429)."""


class TransferLimitReached(RateLimited):
    """Administrators have transferred the day's amount between vaults (429).

    `used` of the `limit`, in token units, is free again for this transfer at `available_at`.
    """

    def __init__(
        self, detail: str, *, retry_after: int, limit: int, used: int, available_at: datetime
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.limit = limit
        self.used = used
        self.available_at = available_at


class TransferNotAllowed(CvmsError):
    """The settings allow no transfer of this amount, or none to this vault (422)."""


class NotSponsored(CvmsError):
    """The transaction violates the fee payer's policy, so the operator does not sign it (422)."""


class SponsorshipPaused(CvmsError):
    """The operator's balance is too low to sponsor a fee that nobody else can pay (503)."""


class SignerUnavailable(SponsorshipPaused):
    """No signature of the operator can be had at present; owners can pay and sign (503).

    `reason` is for operators: it may name hosts.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            "The service cannot sign at present. Nothing was submitted. Ask for the transaction "
            "anew, which its owner can sign and pay for, or try again in a moment."
        )
        self.reason = reason


class SignerFailed(CvmsError):
    """A signer has not signed. The text is for operators: it may name hosts, but has no secret."""


# --- errors of dependencies --------------------------------------------------------------------


class DatabaseUnavailable(CvmsError):
    """PostgreSQL is unreachable, or the pool had no free connection in time (503).

    The text may name hosts and is for operators; it is one line, whereas libpq's has several.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(" ".join(reason.split()))


class ChainUnavailable(CvmsError):
    """No RPC endpoint is reachable (503)."""


class ChainTimeout(ChainUnavailable):
    """No RPC endpoint replied within the deadline (504)."""


class MethodRefused(ChainUnavailable):
    """The RPC endpoint refuses this method, and serves others (503)."""


class RpcError(CvmsError):
    """A node replied with a JSON-RPC error (502 unless the client caused it)."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class DecodeError(CvmsError):
    """Bytes from the chain do not have the expected layout."""


class GapNotClosed(CvmsError):
    """A page of signatures does not reach the cursor. Nothing is skipped."""


class HistoryNotProven(CvmsError):
    """The chain's list of a vault's transactions does not prove its history. Nothing is changed."""


class HistoryNotIndexed(HistoryNotProven):
    """The indexer has not reached the newest finalized slot yet. Retry later."""


class RebuildNotPossible(CvmsError):
    """A rebuild, or the replacement of the live tables, is not possible. Nothing is changed."""


class RebuildIncomplete(RebuildNotPossible):
    """The rebuilt index does not add up to the accounts: the node has less. Nothing is changed."""


class GapTooLong(GapNotClosed):
    """The gap has too many transactions for memory, and needs a backfill."""


class CursorNotListed(GapNotClosed):
    """A node does not list the last applied transaction where it was: a fork, or pruned history."""


class StepFailed(CvmsError):
    """A step of a deployment is refused or not confirmed. What was done before stays done.

    `reason` is the name of a program's error, such as InvalidInstructionData.
    """

    def __init__(self, detail: str, *, reason: str = "") -> None:
        super().__init__(detail)
        self.reason = reason


class NotRebuilt(CvmsError):
    """Neither a transaction's logs nor its instructions give all of its events."""


class AdminDisabled(CvmsError):
    """No ADMIN_JWT_SECRET is set, so administrators' routes are disabled (503)."""


class EncryptionDisabled(CvmsError):
    """DATA_ENCRYPTION_KEYS is not set, so secrets can be neither stored nor read (503)."""


class TwoFactorDisabled(EncryptionDisabled):
    """DATA_ENCRYPTION_KEYS is not set, so second factors cannot be set up or checked (503)."""


class DecryptionFailed(CvmsError):
    """A stored secret cannot be decrypted: a key is missing, or it was tampered with (503)."""


class Overloaded(CvmsError):
    """Too many requests are in flight. Retry later (503)."""


class ProofInvalid(CvmsError):
    """A proof of reserves, or a part of it, is not valid. `check` is its name in docs/proofs.md."""

    def __init__(self, check: str, problem: str) -> None:
        super().__init__(problem)
        self.check = check


class ProofNotChecked(CvmsError):
    """A part of a proof of reserves could not be checked, with the reason."""
