"""JSON-RPC over HTTP: deadlines, one second try, and endpoints that are left alone when they fail.

httpx's transport is used without its client: the client logs each request's whole URL, which may
hold an API key, and follows redirects and proxies that nobody asked for.
"""

from __future__ import annotations

import base64
import itertools
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import unquote

import httpx
import trio

from cvms.chain import jsonrpc
from cvms.chain.endpoints import Endpoint, EndpointPool, host_of
from cvms.errors import ChainTimeout, ChainUnavailable, ConfigurationError, RpcError
from cvms.metrics import Metrics

A = TypeVar("A")

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_BATCH = 100
MAX_CONNECTIONS = 32
NODE_BEHIND = -32005  # "Node is behind by … slots", also some providers' rate limit
MIN_CONTEXT_SLOT_NOT_REACHED = -32016


class _AttemptFailed(Exception):
    """One endpoint gave no answer. `unsent`: it cannot have seen the request; `broken`: the
    connection died, which a kept-alive one may do at any time."""

    def __init__(
        self, outcome: ChainUnavailable, *, unsent: bool = False, broken: bool = False
    ) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome
        self.unsent = unsent
        self.broken = broken


class Transport:
    """Calls and batches against several endpoints. Build it with `open_transport`."""

    def __init__(
        self,
        pool: EndpointPool,
        http: httpx.AsyncHTTPTransport,
        *,
        timeout: float,
        metrics: Metrics | None,
    ) -> None:
        self._pool = pool
        self._http = http
        self._timeout = timeout
        self._metrics = metrics
        self._ids = itertools.count(1)

    @property
    def available(self) -> bool:
        """False while every endpoint is marked down: calls then fail at once."""
        return self._pool.available

    async def call(self, method: str, params: Sequence[Any], *, repeatable: bool = True) -> Any:
        """One call, answered within the timeout, both tries included.

        Unless `repeatable`, a second endpoint is tried only when the first cannot have seen it.
        Raises RpcError, ChainTimeout or ChainUnavailable.
        """
        call_id, body = self._single(method, params)
        [answer] = await self._exchange(
            [method],
            body,
            lambda content: [jsonrpc.decode_answer(content, call_id)],
            repeatable=repeatable,
        )
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        """The answers in the order of the calls, all of them reads; a node's error is a value.

        At most 100 calls go into one request; each request has the timeout to itself.
        """
        answers: list[Any | RpcError] = []
        for start in range(0, len(calls), MAX_BATCH):
            answers += await self._batch(calls[start : start + MAX_BATCH])
        return answers

    async def probe(self, method: str, params: Sequence[Any]) -> Any:
        """Call an endpoint even if it is marked down, the healthiest first; success clears it."""
        endpoints = self._pool.all()
        call_id, body = self._single(method, params)
        failure: Exception = ChainUnavailable("no endpoint answers")
        for endpoint in endpoints:
            try:
                [answer] = await self._attempt(
                    endpoint,
                    body,
                    lambda content: [jsonrpc.decode_answer(content, call_id)],
                    self._timeout / len(endpoints),
                )
            except _AttemptFailed as attempt:
                failure = attempt.outcome
                continue
            if not isinstance(answer, RpcError):
                return answer
            failure = answer
        raise failure

    async def _batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        ids = [next(self._ids) for _ in calls]
        requests = [
            jsonrpc.encode_call(call_id, method, params)
            for call_id, (method, params) in zip(ids, calls, strict=True)
        ]
        return await self._exchange(
            [method for method, _ in calls],
            jsonrpc.encode_body(requests),
            lambda content: jsonrpc.decode_batch(content, ids),
            repeatable=True,
        )

    def _single(self, method: str, params: Sequence[Any]) -> tuple[int, bytes]:
        call_id = next(self._ids)
        return call_id, jsonrpc.encode_body(jsonrpc.encode_call(call_id, method, params))

    async def _exchange(
        self,
        methods: Sequence[str],
        body: bytes,
        read: Callable[[bytes], list[Any | RpcError]],
        *,
        repeatable: bool,
    ) -> list[Any | RpcError]:
        try:
            answers = await self._try_twice(body, read, repeatable=repeatable)
        except ChainUnavailable as outcome:
            timed_out = isinstance(outcome, ChainTimeout)
            self._count(methods, "timeout" if timed_out else "unavailable")
            raise
        for method, answer in zip(methods, answers, strict=True):
            self._count([method], "error" if isinstance(answer, RpcError) else "ok")
        return answers

    async def _try_twice(
        self, body: bytes, read: Callable[[bytes], list[Any | RpcError]], *, repeatable: bool
    ) -> list[Any | RpcError]:
        order = self._pool.candidates()
        if not order:
            raise ChainUnavailable("every RPC endpoint is marked down")
        deadline = trio.current_time() + self._timeout
        first, second = order[0], order[1] if len(order) > 1 else None
        share = self._timeout if second is None else self._timeout / 2
        try:
            answers = await self._attempt(first, body, read, share)
        except _AttemptFailed as failure:
            if second is None and failure.broken:
                second = first
            if second is None or not (repeatable or failure.unsent):
                raise failure.outcome from failure.__cause__
        else:
            if second is None or not repeatable or not _better_elsewhere(answers):
                return answers
        try:
            return await self._attempt(second, body, read, deadline - trio.current_time())
        except _AttemptFailed as failure:
            raise failure.outcome from failure.__cause__

    async def _attempt(
        self, endpoint: Endpoint, body: bytes, read: Callable[[bytes], list[A]], seconds: float
    ) -> list[A]:
        self._pool.trial(endpoint, seconds)
        host = endpoint.host
        try:
            with trio.fail_after(max(seconds, 0)):
                answers = read(await self._post(endpoint, body, seconds))
        except httpx.PoolTimeout as error:  # our own connections are all busy: no fault of theirs
            raise _AttemptFailed(ChainTimeout("no connection came free"), unsent=True) from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._pool.failed(endpoint)
            outcome = ChainUnavailable(f"{host} does not accept the connection")
            raise _AttemptFailed(outcome, unsent=True) from error
        except (trio.TooSlowError, httpx.TimeoutException) as error:
            self._pool.failed(endpoint)
            outcome = ChainTimeout(f"{host} did not answer within {seconds:.3g} s")
            raise _AttemptFailed(outcome) from error
        except httpx.RequestError as error:
            self._pool.failed(endpoint)
            outcome = ChainUnavailable(f"{host}: {type(error).__name__}")
            raise _AttemptFailed(outcome, broken=True) from error
        except _BadStatus as error:
            self._pool.failed(endpoint, retry_after=error.retry_after)
            raise _AttemptFailed(ChainUnavailable(f"{host}: HTTP {error.status}")) from error
        except jsonrpc.MalformedAnswer as error:
            self._pool.failed(endpoint)
            raise _AttemptFailed(ChainUnavailable(f"{host}: {error}")) from error
        if any(_code(answer) == NODE_BEHIND for answer in answers):
            self._pool.failed(endpoint)
        else:
            self._pool.succeeded(endpoint)
        return answers

    async def _post(self, endpoint: Endpoint, body: bytes, seconds: float) -> bytes:
        request = _request(endpoint.url, body)
        request.extensions = {
            "timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        }
        response = await self._http.handle_async_request(request)
        try:
            if response.status_code != httpx.codes.OK:
                raise _BadStatus(response.status_code, _retry_after(response))
            return await _bounded_body(response)
        finally:
            await response.aclose()

    def _count(self, methods: Sequence[str], outcome: str) -> None:
        if self._metrics is not None:
            for method in methods:
                self._metrics.rpc_requests.labels(method, outcome).inc()


class _BadStatus(Exception):
    def __init__(self, status: int, retry_after: float) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.retry_after = retry_after


@asynccontextmanager
async def open_transport(
    urls: Sequence[str], *, timeout: float, metrics: Metrics | None
) -> AsyncIterator[Transport]:
    """Connections are kept alive and closed at the end. Raises ConfigurationError on a bad URL."""
    for url in urls:
        try:
            _request(url, b"")
        except (httpx.InvalidURL, ValueError):
            raise ConfigurationError(f"the RPC URL of {host_of(url)} is not valid") from None
    pool = EndpointPool(urls, clock=trio.current_time)
    limits = httpx.Limits(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS
    )
    context = httpx.create_ssl_context()
    async with httpx.AsyncHTTPTransport(verify=context, limits=limits) as http:
        yield Transport(pool, http, timeout=timeout, metrics=metrics)


def _request(raw: str, body: bytes) -> httpx.Request:
    url = httpx.URL(raw)
    headers = {
        "host": url.netloc.decode("ascii"),
        "content-type": "application/json",
        "content-length": str(len(body)),
        "accept-encoding": "gzip",
        "user-agent": "cvms",
    }
    if url.userinfo:
        credentials = base64.b64encode(unquote(url.userinfo.decode()).encode()).decode()
        headers["authorization"] = f"Basic {credentials}"
    return httpx.Request("POST", url, headers=headers, stream=_Body(body))


class _Body(httpx.AsyncByteStream):
    """A request's body. httpx's own is a generator, which a cancelled request would abandon."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


class _Once:
    def __init__(self, content: bytes) -> None:
        self._parts = [content]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()


async def _bounded_body(response: httpx.Response) -> bytes:
    content = bytearray()
    with trio.CancelScope() as too_long:
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > MAX_BODY_BYTES:
                # Unwinds httpx's nested generators, which leaving the loop would abandon.
                too_long.cancel()
    if len(content) > MAX_BODY_BYTES:
        raise jsonrpc.MalformedAnswer(f"a body of more than {MAX_BODY_BYTES} bytes")
    return _decoded(bytes(content), response.headers.get("content-encoding", "identity"))


def _decoded(content: bytes, encoding: str) -> bytes:
    if encoding == "identity":
        return content
    if encoding != "gzip":
        raise jsonrpc.MalformedAnswer("a body in an encoding that was not asked for")
    stream = zlib.decompressobj(wbits=31)  # 31: gzip with the largest window
    try:
        decoded = stream.decompress(content, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise jsonrpc.MalformedAnswer("a body that is not gzip") from None
    if len(decoded) > MAX_BODY_BYTES:
        raise jsonrpc.MalformedAnswer(f"a body of more than {MAX_BODY_BYTES} bytes")
    if not stream.eof:
        raise jsonrpc.MalformedAnswer("a body cut short")
    return decoded


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0.0


def _better_elsewhere(answers: Sequence[Any | RpcError]) -> bool:
    return any(_code(answer) in (NODE_BEHIND, MIN_CONTEXT_SLOT_NOT_REACHED) for answer in answers)


def _code(answer: Any | RpcError) -> int | None:
    return answer.code if isinstance(answer, RpcError) else None
