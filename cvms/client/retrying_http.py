"""Requests and their repetition: what can be asked again is, until it is answered or time is up."""

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
LONGEST_DELAY = 5.0
# Said before anything has happened, or by something in between that does not know.
TRY_AGAIN = frozenset({429, 502, 503, 504})
# Of these, what no waiting changes.
LASTING = frozenset(
    {"admin_disabled", "twofa_disabled", "sealing_disabled", "sealed_data_unreadable"}
)


class RetryingHttp:
    """JSON over HTTP. `patience`: within how many seconds there is an answer or an error."""

    def __init__(self, http: httpx.AsyncClient, url: str, *, patience: float) -> None:
        self._http = http
        self._url = url
        self._patience = patience

    async def get(self, path: str, reply: type[T], /, **params: Any) -> T:
        """Raises Problem and ServiceUnavailable. Parameters that are None are left out."""
        given = {name: value for name, value in params.items() if value is not None}
        return await self._ask("GET", path, reply, params=given)

    async def send(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: Any,
        *,
        headers: Mapping[str, str] | None = None,
        again: bool = True,
    ) -> T:
        """`again`: the service takes this request twice for one, by its key or its nature.

        Raises Problem and ServiceUnavailable.
        """
        return await self._ask(method, path, kind, again=again, json=body, headers=headers)

    async def _ask(
        self, method: str, path: str, kind: type[T], *, again: bool = True, **request: Any
    ) -> T:
        delay = FIRST_DELAY
        failure: Exception | None = None
        with anyio.move_on_after(self._patience) as waiting:
            while failure is None or again:
                pause = delay * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
                try:
                    reply = await self._http.request(method, self._url + path, **request)
                    return _read(reply, kind)
                except httpx.TransportError as error:
                    failure = error
                except Problem as problem:
                    if not (again and is_passing(problem)):
                        raise
                    failure, pause = problem, pause + problem.retry_after
                if anyio.current_time() + pause > waiting.deadline:
                    break
                await anyio.sleep(pause)
                delay = min(delay * 2, LONGEST_DELAY)
        raise ServiceUnavailable(f"{method} {path}: {failure or 'no answer'!r}") from failure


def is_passing(problem: Problem) -> bool:
    """Whether the same request may be answered in another way a moment later."""
    return problem.status in TRY_AGAIN and problem.code not in LASTING


def problem_of(reply: httpx.Response) -> Problem:
    """What an answer that is no success says, whoever gave it."""
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
        raise ClientError(f"{reply.request.url.path} is not understood: {error}") from error


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isascii() and text.isdigit() else 0.0
