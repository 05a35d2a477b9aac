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


class Transport:
    """JSON over HTTP. `patience`: how long (seconds) a request is repeated."""

    def __init__(
        self, http: httpx.AsyncClient, url: str, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._patience = patience

    async def get(self, path: str, kind: type[T], params: Mapping[str, Any] | None = None) -> T:
        """Raises Problem and ServiceUnavailable."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        return await self._ask("GET", path, kind, params=given)

    async def send(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: Any,
        *,
        headers: Mapping[str, str] | None = None,
        again: bool,
    ) -> T:
        """`again`: the service takes this request twice for one, by its key or its nature."""
        return await self._ask(
            method, path, kind, again=again, json=body, headers=dict(headers or {})
        )

    async def _ask(
        self, method: str, path: str, kind: type[T], *, again: bool = True, **request: Any
    ) -> T:
        until = anyio.current_time() + self._patience
        delay = FIRST_DELAY
        while True:
            try:
                reply = await self._http.request(method, self._url + path, **request)
                return _read(reply, kind)
            except httpx.TransportError as error:
                failure: ClientError = ServiceUnavailable(f"{path}: {type(error).__name__} {error}")
                pause = delay
            except Problem as problem:
                if problem.status not in TRY_AGAIN:
                    raise
                failure, pause = problem, max(delay, problem.retry_after or 0.0)
            if not again or anyio.current_time() + pause > until:
                raise failure
            await anyio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            delay = min(delay * 2, LONGEST_DELAY)


def _read(reply: httpx.Response, kind: type[T]) -> T:
    if reply.is_success:
        try:
            return msgspec.json.decode(reply.content, type=kind)
        except msgspec.DecodeError as error:
            raise ClientError(f"{reply.request.url.path} is not understood: {error}") from error
    try:
        body = msgspec.json.decode(reply.content, type=dict[str, Any])
    except msgspec.DecodeError:
        body = {"detail": reply.text[:200]}
    raise Problem(reply.status_code, body, retry_after=_seconds(reply.headers.get("retry-after")))


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() else None
