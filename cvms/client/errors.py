"""What can go wrong for a client, one class for each outcome."""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """All of these; by itself: the service answers what this version does not understand."""


class ServiceUnavailable(ClientError):
    """No answer that settles it, however often the service was asked; `__cause__` is the last.

    Whether a request that changes something had its effect is not known.
    """


class Problem(ClientError):
    """The service refuses: an RFC 9457 problem. `code` is the stable word to decide by.

    Nothing has happened, but that a nonce may be used up.
    """

    def __init__(self, status: int, body: dict[str, Any], *, retry_after: float = 0.0) -> None:
        self.status = status
        self.code = str(body.get("code", "unknown"))
        self.detail = str(body.get("detail", ""))
        self.body = body
        self.retry_after = retry_after
        super().__init__(f"{status} {self.code}: {self.detail}")

    @property
    def program_error(self) -> str | None:
        """The vault program's own name for its refusal, where `code` is `program_error`."""
        name = (self.body.get("program_error") or {}).get("name")
        return None if name is None else str(name)


class TransactionFailed(ClientError):
    """A transaction ended otherwise: `status` is failed, expired or quarantined.

    Failed and expired ones have had no effect. What became of a quarantined one is not known.
    """

    def __init__(self, signature: str, status: str, error: Any) -> None:
        self.signature = signature
        self.status = status
        self.error = error
        super().__init__(f"transaction {signature} is {status}: {error}")


class SignaturesMissing(ClientError):
    """A transaction waits until the `missing` signers have signed it too."""

    def __init__(self, missing: list[str]) -> None:
        self.missing = missing
        super().__init__(f"others have to sign as well: {', '.join(missing)}")


class SubscriptionRefused(ClientError):
    """The service takes no subscription to `topic` from this client, or takes it back."""

    def __init__(self, topic: str | None, code: str, detail: str) -> None:
        self.topic = topic
        self.code = code
        self.detail = detail
        super().__init__(f"{topic or 'a subscription'}: {code}: {detail}")
