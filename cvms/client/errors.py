"""What can go wrong for a client, one class for each outcome."""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """All of these."""


class ServiceUnavailable(ClientError):
    """The service did not answer, or not in time, however often it was asked."""


class Problem(ClientError):
    """The service refuses: an RFC 9457 problem. `code` is the stable word to decide by."""

    def __init__(self, status: int, body: dict[str, Any], *, retry_after: float | None) -> None:
        self.status = status
        self.code = str(body.get("code", "unknown"))
        self.detail = str(body.get("detail", ""))
        self.body = body
        self.retry_after = retry_after
        super().__init__(f"{status} {self.code}: {self.detail}")


class TransactionFailed(ClientError):
    """A transaction ended without an effect: `status` is failed, expired or quarantined."""

    def __init__(self, signature: str, status: str, error: Any) -> None:
        self.signature = signature
        self.status = status
        self.error = error
        super().__init__(f"transaction {signature} is {status}: {error}")


class SubscriptionRefused(ClientError):
    """The service takes no subscription to this topic from this client."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")
