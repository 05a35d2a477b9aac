"""Errors of the client, one class for each outcome."""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """Base class. By itself: the client has no wallet, or cannot decode a reply."""


class ServiceUnavailable(ClientError):
    """No conclusive reply within the client's `patience`. `__cause__` is the last failure.

    It is unknown whether the request took effect.
    """


class Problem(ClientError):
    """The service refuses the request with an RFC 9457 problem, identified by a stable `code`.

    The request had no effect, but may have used its nonce.
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
        """The vault program's name of the error, if `code` is `program_error`."""
        name = (self.body.get("program_error") or {}).get("name")
        return None if name is None else str(name)


class TransactionFailed(ClientError):
    """A transaction ended as `failed` or `expired`, without effect, or as `quarantined`.

    It is unknown whether a quarantined transaction took effect.
    """

    def __init__(self, signature: str, status: str, error: Any) -> None:
        self.signature = signature
        self.status = status
        self.error = error
        super().__init__(f"transaction {signature} is {status}: {error}")


class SignaturesMissing(ClientError):
    """A transaction waits for the signatures of the `missing` signers."""

    def __init__(self, missing: list[str]) -> None:
        self.missing = missing
        super().__init__(f"other signers have to sign, too: {', '.join(missing)}")


class UnexpectedText(ClientError):
    """The service asks the wallet to sign another `text` than the request's; nothing is signed."""

    def __init__(self, text: str | None, expected: str) -> None:
        self.text = text
        self.expected = expected
        super().__init__(f"the service asks for a signature of {text!r} instead of {expected!r}")


class SubscriptionRefused(ClientError):
    """The service refuses or ends this client's subscription to `topic`."""

    def __init__(self, topic: str | None, code: str, detail: str) -> None:
        self.topic = topic
        self.code = code
        self.detail = detail
        super().__init__(f"{topic or 'a subscription'}: {code}: {detail}")
