"""The outcomes that are not success; `cvms/http/framework/problems.py` maps them to replies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions inside a group, however deep; a plain exception is its own only leaf."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def only(error: BaseException) -> BaseException:
    """The one error that nested groups hold, or the group that holds several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class CvmsError(Exception):
    """Base of every outcome that CVMS itself names."""


class ConfigurationError(CvmsError):
    """A setting holds a value the service cannot work with; start-up ends."""


# --- what a client sent ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong with a request: a JSON path such as `amount`, and a sentence."""

    path: str
    message: str


class InvalidRequest(CvmsError):
    """The request is malformed: invalid JSON, or a missing or invalid field (400)."""

    def __init__(self, detail: str, problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(detail)
        self.problems = tuple(problems)


class InvalidSignature(CvmsError):
    """The wallet's signature does not verify for the text of this request (401)."""


class NonceUnknown(CvmsError):
    """The nonce was not issued to this wallet (401)."""


class NonceExpired(CvmsError):
    """The nonce has expired (401)."""


class NonceUsed(CvmsError):
    """The nonce has been used (409)."""


class SecondFactorRequired(CvmsError):
    """The owner has enabled a second factor, but the request has no code (401)."""


class InvalidSecondFactor(CvmsError):
    """The code is not a current code of the owner's second factor (401)."""


class SecondFactorUsed(CvmsError):
    """The code or a later one has been used (409)."""


class InvalidToken(CvmsError):
    """The administrator token is missing, forged, expired or for another service (401)."""


class NotAllowed(CvmsError):
    """The administrator's role is too low (403)."""


class NotFound(CvmsError):
    """The requested object does not exist (404)."""


class VaultNotFound(NotFound):
    """The owner has no open vault (404)."""


class BalanceNotKnown(NotFound):
    """The slot is before the first known balance of the vault (404)."""


class SlotNotIndexed(CvmsError):
    """The slot is after the newest indexed one (422)."""


class Conflict(CvmsError):
    """The request contradicts the current state (409)."""


class IdempotencyKeyReused(Conflict):
    """The Idempotency-Key was used with another request (409)."""


class NoMultisig(Conflict):
    """The vault has no multisig, so no signers can approve a proposal (409)."""


class MultisigMismatch(Conflict):
    """The request's threshold or signers differ from the vault's multisig on chain (409)."""


class NotASigner(CvmsError):
    """The wallet is not one of the proposal's signers (403)."""


class ProposalEnded(Conflict):
    """The proposal no longer takes approvals or signatures (409)."""


class ProposalExpired(ProposalEnded):
    """The proposal has expired (409)."""


class ProposalCancelled(ProposalEnded):
    """The vault's signers or threshold have changed on chain since the proposal (409)."""


class ProposalCompleted(ProposalEnded):
    """The proposal's transaction has been submitted (409)."""


class UnknownTransaction(CvmsError):
    """The transaction's message was not built by this service (422)."""


class YieldProgramUnsupported(CvmsError):
    """Vaults may use this yield program, but no pool of it is configured (422)."""


class TransactionExpired(CvmsError):
    """The transaction's blockhash has expired (422)."""


class ProgramRefused(CvmsError):
    """The program rejects the instruction, in simulation or on chain (422).

    `code` is the custom error code (6000 and up for the program's own), `logs` the last log lines.
    """

    def __init__(self, *, code: int | None, name: str, msg: str, logs: Sequence[str] = ()) -> None:
        super().__init__(f"{name}: {msg}")
        self.code = code
        self.name = name
        self.msg = msg
        self.logs = tuple(logs)


class RateLimited(CvmsError):
    """A rate limit is exceeded; `retry_after` in seconds (429)."""

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class SponsorshipExhausted(RateLimited):
    """The day's fee budget of the owner or of all owners is exhausted (429)."""


class NotSponsored(CvmsError):
    """The transaction breaks the operator's signing policy (422)."""


class SponsorshipPaused(CvmsError):
    """The operator has too little SOL to pay fees for others (503)."""


# --- what the service depends on ---------------------------------------------------------------


class DatabaseUnavailable(CvmsError):
    """PostgreSQL does not answer, or no connection became free in time (503)."""


class ChainUnavailable(CvmsError):
    """No RPC endpoint answers (503)."""


class ChainTimeout(ChainUnavailable):
    """RPC endpoints did not answer before the deadline (504)."""


class RpcError(CvmsError):
    """A node answered with a JSON-RPC error (502 unless the client caused it)."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class DecodeError(CvmsError):
    """Bytes from the chain do not have the expected layout (502)."""


class GapNotClosed(CvmsError):
    """A page of signatures does not meet what was applied before; nothing is skipped."""


class HistoryNotProven(CvmsError):
    """The chain's own list of a vault's transactions does not show its history; nothing changes."""


class HistoryNotIndexed(HistoryNotProven):
    """The indexer has not passed the newest final slot yet; ask again in a moment."""


class RebuildNotPossible(CvmsError):
    """The books cannot be built a second time, or not be exchanged; nothing is changed."""


class GapTooLong(GapNotClosed):
    """There is more to apply than is held in memory: it goes by way of the backlog."""


class CursorNotListed(GapNotClosed):
    """A node does not list what was applied last where it was: a fork, or its ledger ends."""


class NotRebuilt(CvmsError):
    """Neither a transaction's logs nor its instructions tell of all of its events."""


class AdminDisabled(CvmsError):
    """No secret for administrator tokens is set (503)."""


class EncryptionDisabled(CvmsError):
    """No encryption key is set, so no secret can be stored or read (503)."""


class TwoFactorDisabled(EncryptionDisabled):
    """No encryption key is set, so second factors can be neither enabled nor checked (503)."""


class DecryptionFailed(CvmsError):
    """A stored secret cannot be decrypted: a key is missing, or it was altered (503)."""


class Overloaded(CvmsError):
    """Too many requests are in flight (503)."""
