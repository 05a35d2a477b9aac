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
# Codes of such replies for which waiting is useless.
PERMANENT_CODES = frozenset(
    {"admin_disabled", "twofa_disabled", "sealing_disabled", "sealed_data_unreadable"}
)


class RetryingHttp:
    """JSON over HTTP. Each call returns or raises within `patience` seconds."""

    def __init__(self, http: httpx.AsyncClient, url: str, *, patience: float) -> None:
        self._http = http
        self._url = url
        self._patience = patience

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
        delay = FIRST_DELAY
        failure: Exception | None = None
        with anyio.move_on_after(self._patience) as waiting:
            while failure is None or repeatable:
                pause = delay * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
                try:
                    reply = await self._http.request(
                        method, url, json=body, params=params, headers=headers
                    )
                    return _read(reply, kind)
                except httpx.TransportError as error:
                    failure = error
                except Problem as problem:
                    if not (repeatable and is_transient(problem)):
                        raise
                    failure, pause = problem, pause + problem.retry_after
                if anyio.current_time() + pause > waiting.deadline:
                    break
                await anyio.sleep(pause)
                delay = min(delay * 2, MAX_DELAY)
        raise ServiceUnavailable(f"{method} {path}: {failure or 'no answer'!r}") from failure


def is_transient(problem: Problem) -> bool:
    """Return True if the same request may succeed later."""
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


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isascii() and text.isdigit() else 0.0
