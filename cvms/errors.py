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
    """The request is malformed: wrong JSON, missing or badly typed fields (400)."""

    def __init__(self, detail: str, problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(detail)
        self.problems = tuple(problems)


class InvalidSignature(CvmsError):
    """The wallet's signature does not verify for the text of this request (401)."""


class NonceUnknown(CvmsError):
    """The nonce was never issued to this owner (401)."""


class NonceExpired(CvmsError):
    """The nonce was issued but its time has passed (401)."""


class NonceUsed(CvmsError):
    """The nonce has already had its effect (409)."""


class SecondFactorRequired(CvmsError):
    """The owner has set up a second factor, and no code came with the request (401)."""


class InvalidSecondFactor(CvmsError):
    """The code is none of the owner's at this time (401)."""


class SecondFactorUsed(CvmsError):
    """The code, or one after it, has already had its effect (409)."""


class InvalidToken(CvmsError):
    """The administrator's token is missing, forged, expired or of another service (401)."""


class NotAllowed(CvmsError):
    """The administrator's role does not reach so far (403)."""


class NotFound(CvmsError):
    """What the request names does not exist: a vault, a transaction (404)."""


class VaultNotFound(NotFound):
    """This owner has no vault yet; initialize one first (404)."""


class BalanceNotKnown(NotFound):
    """The slot lies before the first that is known of the vault (404)."""


class SlotNotIndexed(CvmsError):
    """The slot lies beyond what is indexed (422)."""


class Conflict(CvmsError):
    """The request contradicts what is already there (409)."""


class IdempotencyKeyReused(Conflict):
    """The Idempotency-Key came before with another request (409)."""


class NoMultisig(Conflict):
    """The vault has no multisig, so there is nobody to propose to (409)."""


class MultisigMismatch(Conflict):
    """The request names another threshold or other signers than the vault has on chain (409)."""


class NotASigner(CvmsError):
    """Who has signed is none of those to whom the withdrawal was proposed (403)."""


class ProposalEnded(Conflict):
    """The proposal takes no approvals and no signatures any more (409)."""


class ProposalExpired(ProposalEnded):
    """Its time has passed; propose again (409)."""


class ProposalCancelled(ProposalEnded):
    """The vault's signers or threshold have changed on chain since; propose again (409)."""


class ProposalCompleted(ProposalEnded):
    """Its transaction has been submitted already (409)."""


class UnknownTransaction(CvmsError):
    """The submitted transaction's message is not one this service built (422)."""


class YieldProgramUnsupported(CvmsError):
    """Vaults may use this yield program, but the service has no pool of it (422)."""


class TransactionExpired(CvmsError):
    """The transaction's block hash can no longer land; build a new one (422)."""


class ProgramRefused(CvmsError):
    """The chain's program refuses the instruction, in simulation or on chain (422).

    `code` is the custom error code (6000 and up for the program's own), `logs` the last lines.
    """

    def __init__(self, *, code: int | None, name: str, msg: str, logs: Sequence[str] = ()) -> None:
        super().__init__(f"{name}: {msg}")
        self.code = code
        self.name = name
        self.msg = msg
        self.logs = tuple(logs)


class RateLimited(CvmsError):
    """The client has asked too much; `retry_after` in seconds (429)."""

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class SponsorshipExhausted(RateLimited):
    """The service pays no more fees for this owner, or for anybody, today (429)."""


class NotSponsored(CvmsError):
    """The operator's key does not sign this transaction: it breaks the fee payer's policy (422)."""


class SponsorshipPaused(CvmsError):
    """The operator has too little SOL to pay for others, and nobody else can for this (503)."""


# --- what the service depends on ---------------------------------------------------------------


class DatabaseUnavailable(CvmsError):
    """PostgreSQL does not answer, or no connection came free in time (503)."""


class ChainUnavailable(CvmsError):
    """No RPC endpoint answers (503)."""


class ChainTimeout(ChainUnavailable):
    """RPC endpoints took longer than the deadline (504)."""


class RpcError(CvmsError):
    """A node answered with a JSON-RPC error (502 where a client caused none of it)."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class DecodeError(CvmsError):
    """Bytes from the chain do not have the layout they should have."""


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
    """No secret is set, so nobody can be an administrator (503)."""


class EncryptionDisabled(CvmsError):
    """No key is set, so no secret can be kept or read (503)."""


class TwoFactorDisabled(EncryptionDisabled):
    """No key is set, so there are no second factors, and none that is on can be checked (503)."""


class DecryptionFailed(CvmsError):
    """What was kept sealed cannot be opened: a key is missing, or it was tampered with (503)."""


class Overloaded(CvmsError):
    """Too many requests are in flight; come back later (503)."""
