"""HTTP requests, which are repeated until there is a conclusive reply or the time is over."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, TypeVar

import anyio
import httpx
import msgspec

from cvms.client.errors import ClientError, Problem, ServiceUnavailable

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
FIRST_DELAY = 0.2
MAX_DELAY = 5.0
# Sent before the request took effect, or by a proxy that does not know.
RETRYABLE_STATUSES = frozenset({429, 502, 503, 504})
NOT_INDEXED = "slot_not_indexed"
# Codes of such replies for which waiting is useless.
PERMANENT_CODES = frozenset(
    {"admin_disabled", "twofa_disabled", "sealing_disabled", "sealed_data_unreadable"}
)


class RetryingHttp:
    """JSON over HTTP. Each call returns or raises within `patience` seconds.

    What it reads is never older than what it has shown before: it remembers the newest slot.
    """

    def __init__(self, http: httpx.AsyncClient, url: str, *, patience: float) -> None:
        self._http = http
        self._url = url
        self._patience = patience
        self._newest_slot = 0

    def note_slot(self, slot: int) -> None:
        """Require that replies from now on are true for `slot`, or a later one."""
        self._newest_slot = max(self._newest_slot, slot)

    async def get(self, path: str, reply: type[T], /, **params: Any) -> T:
        """Send a GET request without the parameters that are None.

        Raises Problem and ServiceUnavailable.
        """
        given = {name: value for name, value in params.items() if value is not None}
        return await self.send("GET", path, reply, params=given)

    async def send(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> T:
        """Send a request. A `repeatable` one takes effect once, however often it is sent.

        Raises Problem and ServiceUnavailable.
        """
        url = self._url + path
        bound = self._bound(method)
        delay = FIRST_DELAY
        failure: Exception | None = None
        with anyio.move_on_after(self._patience) as waiting:
            while failure is None or repeatable:
                pause = delay * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
                try:
                    reply = await self._http.request(
                        method,
                        url,
                        json=body,
                        params=params,
                        headers={**bound, **(headers or {})},
                    )
                    self.note_slot(_slot(reply))
                    return _read(reply, kind)
                except httpx.TransportError as error:
                    failure = error
                except Problem as problem:
                    if not (repeatable and is_transient(problem)):
                        raise
                    failure = problem
                    if problem.code != NOT_INDEXED:  # which takes a fraction of a second
                        pause += problem.retry_after
                if anyio.current_time() + pause > waiting.deadline:
                    break
                await anyio.sleep(pause)
                delay = min(delay * 2, MAX_DELAY)
        raise ServiceUnavailable(f"{method} {path}: {failure or 'no answer'!r}") from failure

    def _bound(self, method: str) -> dict[str, str]:
        """Return the header that requires the newest slot of a reply to a GET request."""
        if method != "GET" or not self._newest_slot:
            return {}
        return {"X-Min-Slot": str(self._newest_slot)}


def is_transient(problem: Problem) -> bool:
    """Return True if the same request may succeed later."""
    if problem.code == NOT_INDEXED:
        return problem.retry_after > 0  # or the request itself names a slot that is too new
    return problem.status in RETRYABLE_STATUSES and problem.code not in PERMANENT_CODES


def problem_of(reply: httpx.Response) -> Problem:
    """Return the problem in an error reply, whether from the service or from a proxy."""
    try:
        body = msgspec.json.decode(reply.content, type=dict[str, Any])
    except (msgspec.DecodeError, httpx.ResponseNotRead):
        body = {"detail": reply.reason_phrase}
    return Problem(reply.status_code, body, retry_after=_seconds(reply.headers.get("retry-after")))


def _read(reply: httpx.Response, kind: type[T]) -> T:
    if not reply.is_success:
        raise problem_of(reply)
    try:
        return msgspec.json.decode(reply.content, type=kind)
    except msgspec.DecodeError as error:
        path = reply.request.url.path
        raise ClientError(f"cannot decode the reply of {path}: {error}") from error


def _slot(reply: httpx.Response) -> int:
    text = reply.headers.get("x-slot", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isascii() and text.isdigit() else 0.0
