"""JSON-RPC over HTTP to several endpoints, with deadlines, failover and rate limits."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import trio

from cvms.chain.rpc.transport import jsonrpc
from cvms.chain.rpc.transport.call_state import MAX_TRIES, Call, FailoverState, unchecked
from cvms.chain.rpc.transport.endpoint_pool import MAX_BATCH, Endpoint, EndpointPool
from cvms.chain.rpc.transport.endpoint_state import show_endpoints
from cvms.chain.rpc.transport.error_kinds import ErrorKind, is_throttled, kind_of
from cvms.chain.rpc.transport.http_post import build_request, open_http
from cvms.chain.rpc.transport.request_sender import (
    Answers,
    AttemptFailed,
    BatchRefused,
    RequestSender,
    RpcRequest,
    Throttled,
    throttled,
)
from cvms.errors import (
    ChainTimeout,
    ChainUnavailable,
    ConfigurationError,
    MethodRefused,
    RpcError,
    leaves,
)
from cvms.metrics import Metrics
from cvms.secret_urls import host_of

BATCH_TIMEOUTS = 30  # for every MAX_BATCH calls in all, in case the endpoints throttle

CONCURRENT_CALLS = 8  # to an endpoint that takes no batches


@dataclass(frozen=True, slots=True)
class EndpointReply:
    """One endpoint's reply. `answer` is a result, an RpcError, or a ChainUnavailable for none."""

    endpoint: Endpoint
    answer: Any

    @property
    def ok(self) -> bool:
        """True if the endpoint returned a result."""
        return not isinstance(self.answer, RpcError | ChainUnavailable)

    @property
    def unserved(self) -> bool:
        """True if the endpoint does not serve the method, at least at present."""
        fault = isinstance(self.answer, RpcError) and kind_of(self.answer) is ErrorKind.FAULT
        return fault or isinstance(self.answer, MethodRefused)

    @property
    def replied(self) -> bool:
        """True if the endpoint returned anything, if only to refuse the method."""
        return not isinstance(self.answer, ChainUnavailable) or isinstance(
            self.answer, MethodRefused
        )


class FailoverTransport:
    """Calls and batches to several endpoints. `open_transport` creates it."""

    def __init__(
        self,
        pool: EndpointPool,
        http: httpx.AsyncBaseTransport,
        *,
        timeout: float,
        metrics: Metrics | None,
        only: Endpoint | None = None,
    ) -> None:
        self.pool = pool
        self._http = http
        self._attempts = RequestSender(pool, http, metrics)
        self._timeout = timeout
        self._only = only
        self.metrics = metrics
        self._ids = itertools.count(1)

    @property
    def available(self) -> bool:
        """False while every endpoint is marked down, so that calls fail at once."""
        return self.pool.available

    @property
    def only_host(self) -> str | None:
        """Host of the only endpoint that it asks; None if it may ask any."""
        return None if self._only is None else self._only.host

    def each_endpoint(self) -> list[FailoverTransport]:
        """Return a transport for each healthy endpoint, which asks no other."""
        return [
            FailoverTransport(
                self.pool, self._http, timeout=self._timeout, metrics=self.metrics, only=each
            )
            for each in self.pool.candidates()
        ]

    async def call(
        self,
        method: str,
        params: Sequence[Any],
        *,
        parse: Callable[[Any], Any] = unchecked,
        may_lack: bool = False,
        repeatable: bool = True,
        at_slot: int = 0,
    ) -> Any:
        """Make one call and return its result, within the timeout, all tries and waits included.

        Another endpoint is tried unless the response is final; see Call and ErrorKind. Unless the
        call is `repeatable`, one is tried only when the first cannot have received it, or
        throttles. An endpoint known to have reached `at_slot` (or minContextSlot of the params) is
        preferred. Raises RpcError, ChainTimeout or ChainUnavailable.
        """
        call = Call(method, params, parse, may_lack)
        [answer] = await self._exchange([call], repeatable=repeatable, at_slot=at_slot)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call], *, at_slot: int = 0) -> list[Any | RpcError]:
        """Make calls, all of them reads, and return the results in their order.

        A node's error is a value. A request holds at most MAX_BATCH calls, fewer where an endpoint
        accepts fewer or throttles, and has the timeout to itself. Raises ChainTimeout or
        ChainUnavailable when one fails.
        """
        answers: dict[int, Any | RpcError] = {}
        calls = [Call(*call) for call in calls]
        left = deque(range(len(calls)))
        batches = max(1.0, len(calls) / MAX_BATCH)
        end = trio.current_time() + self._timeout * BATCH_TIMEOUTS * batches
        size = MAX_BATCH
        while left:
            if trio.current_time() > end:
                raise ChainTimeout("the calls of a batch are answered too slowly")
            size = min(size, self._batch_size(calls, at_slot))
            width = CONCURRENT_CALLS if size == 1 else size
            indexes = [left.popleft() for _ in range(min(width, len(left)))]
            some = [calls[index] for index in indexes]
            try:
                if size == 1:
                    results = await self._one_by_one(some, at_slot)
                else:
                    results = await self._exchange(some, repeatable=True, at_slot=at_slot)
            except BatchRefused as refused:
                left.extendleft(reversed(indexes))
                size = max(1, min(refused.max_calls, len(indexes) // 2))
                continue
            size = MAX_BATCH
            answered = dict(zip(indexes, results, strict=True))
            answers |= answered
            # If all were throttled, that would have been an exception, so every request progresses.
            left.extendleft(i for i in reversed(indexes) if is_throttled(answered[i]))
        return [answers[index] for index in range(len(calls))]

    async def _one_by_one(self, calls: Sequence[Call], at_slot: int) -> Answers:
        """Make the calls in a request each, all at the same time."""
        answers: dict[int, Any | RpcError] = {}

        async def make(place: int, call: Call) -> None:
            [answers[place]] = await self._exchange([call], repeatable=True, at_slot=at_slot)

        try:
            async with trio.open_nursery() as nursery:
                for place, call in enumerate(calls):
                    nursery.start_soon(make, place, call)
        except BaseExceptionGroup as group:
            raise next(leaves(group)) from None
        return [answers[place] for place in range(len(calls))]

    async def everywhere(
        self,
        method: str,
        params: Sequence[Any],
        *,
        grace: float | None = None,
        doubtful: bool = False,
    ) -> list[EndpointReply]:
        """Query every healthy endpoint at once, and return the replies, best endpoint first.

        Endpoints that disagree with the others, or were not yet compared with them, are included
        only if there is no other, or if `doubtful`. `grace`: see `query_each`. Raises
        ChainUnavailable when none is healthy.
        """
        healthy = self.pool.candidates()
        if not healthy:
            raise self._all_unavailable()
        trusted = [each for each in healthy if each.checked and not each.disagrees]
        endpoints = healthy if doubtful else trusted or healthy
        replies = await self.query_each(endpoints, method, params, grace=grace)
        if any(each.ok for each in replies):
            self._count([method], "ok")
        else:
            failed = any(isinstance(each.answer, RpcError) for each in replies)
            self._count([method], "error" if failed else "unavailable")
        return replies

    async def query_each(
        self,
        endpoints: Sequence[Endpoint],
        method: str,
        params: Sequence[Any],
        *,
        seconds: float | None = None,
        grace: float | None = None,
    ) -> list[EndpointReply]:
        """Query endpoints at once, with the same deadline, and return their replies in order.

        With `grace`, the others have that many seconds after the first success.
        """
        request = self._request([Call(method, params)], 0)
        answers: dict[int, Any] = {}
        deadline = trio.current_time() + (self._timeout if seconds is None else seconds)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def query(endpoint: Endpoint) -> None:
                    answer = await self._query_one(endpoint, request, deadline)
                    answers[endpoint.order] = answer
                    if grace is not None and EndpointReply(endpoint, answer).ok:
                        scope.deadline = min(scope.deadline, trio.current_time() + grace)

                for endpoint in endpoints:
                    nursery.start_soon(query, endpoint)
        late = ChainTimeout("the wait has ended")
        return [EndpointReply(each, answers.get(each.order, late)) for each in endpoints]

    async def _query_one(self, endpoint: Endpoint, request: RpcRequest, deadline: float) -> Any:
        try:
            while not await self._wait_for_turn(endpoint, request, deadline):
                continue
            seconds = deadline - trio.current_time()
            [answer] = await self._attempts.send_once(endpoint, request, seconds)
        except AttemptFailed as failure:
            return failure.outcome
        return answer

    async def _exchange(self, calls: Sequence[Call], *, repeatable: bool, at_slot: int) -> Answers:
        methods = [call.method for call in calls]
        try:
            answers = await self._try_in_turn(calls, repeatable=repeatable, at_slot=at_slot)
        except ChainUnavailable as outcome:
            timed_out = isinstance(outcome, ChainTimeout)
            self._count(methods, "timeout" if timed_out else "unavailable")
            raise
        for method, answer in zip(methods, answers, strict=True):
            self._count([method], "error" if isinstance(answer, RpcError) else "ok")
        return answers

    async def _try_in_turn(
        self, calls: Sequence[Call], *, repeatable: bool, at_slot: int
    ) -> Answers:
        deadline = trio.current_time() + self._timeout
        tries = FailoverState(calls, repeatable=repeatable)
        while not tries.over:
            request = self._request([calls[place] for place in tries.unresolved], at_slot)
            order = self._candidates(request.at_slot, set(request.methods), without=tries.tried)
            if not order:
                break
            limit = self.pool.batch_limit(order[0])
            if len(request.methods) > limit:
                raise BatchRefused(limit)
            share = min(len(order), MAX_TRIES - len(tries.tried))
            try:
                if await self._wait_for_turn(order[0], request, deadline):
                    seconds = (deadline - trio.current_time()) / share
                    answers = await self._attempts.send_once(order[0], request, seconds)
                    tries.answered(order[0], answers)
            except AttemptFailed as failure:
                tries.failed(order[0], failure, last=len(order) == 1)
        return tries.outcome(none=self._all_unavailable)

    async def _wait_for_turn(
        self, endpoint: Endpoint, request: RpcRequest, deadline: float
    ) -> bool:
        """Wait until the rate limiter lets the request out; False if it was paused meanwhile.

        Raises Throttled when that would be after the deadline.
        """
        limiter, calls = endpoint.rate_limiter, len(request.methods)
        wait = limiter.reserve(calls)
        if not wait:
            return True
        if trio.current_time() + wait >= deadline:
            limiter.release(calls)
            raise Throttled(throttled(endpoint), hopeless=True)
        try:
            await trio.sleep(wait)
        except trio.Cancelled:
            limiter.release(calls)
            raise
        if limiter.paused:
            limiter.release(calls)
            return False
        return True

    def _batch_size(self, calls: Sequence[Call], at_slot: int) -> int:
        methods = {call.method for call in calls}
        order = self._candidates(at_slot, methods)
        return self.pool.batch_limit(order[0]) if order else MAX_BATCH

    def _candidates(
        self, at_slot: int, methods: Collection[str], *, without: Collection[Endpoint] = ()
    ) -> list[Endpoint]:
        order = self.pool.candidates(at_slot=at_slot, methods=methods, without=without)
        return order if self._only is None else [each for each in order if each is self._only]

    def _all_unavailable(self) -> ChainUnavailable:
        return all_unavailable(self.pool.all())

    def _request(self, calls: Sequence[Call], at_slot: int) -> RpcRequest:
        ids = [next(self._ids) for _ in calls]
        requests = [
            jsonrpc.encode_call(call_id, call.method, call.params)
            for call_id, call in zip(ids, calls, strict=True)
        ]
        single = len(calls) == 1  # some endpoints accept no batches
        last = calls[0].params[-1] if single and calls[0].params else None
        options = last if isinstance(last, dict) else {}
        return RpcRequest(
            methods=[call.method for call in calls],
            body=jsonrpc.encode_body(requests[0] if single else requests),
            read=partial(
                _read_single if single else jsonrpc.decode_batch,
                call_ids=ids,
                raw=[call.raw for call in calls],
            ),
            parse=lambda place, answer: calls[place].parse(answer),
            at_slot=max(at_slot, options.get("minContextSlot") or 0),
            newest=options.get("commitment") in ("processed", "confirmed"),
        )

    def _count(self, methods: Collection[str], outcome: str) -> None:
        if self.metrics is not None:
            for method in methods:
                self.metrics.rpc.requests.labels(method, outcome).inc()


def _read_single(content: bytes, *, call_ids: Sequence[int], raw: Sequence[bool]) -> Answers:
    return [jsonrpc.decode_response(content, call_ids[0], raw=raw[0])]


@asynccontextmanager
async def open_transport(
    urls: Sequence[str], *, timeout: float, metrics: Metrics | None
) -> AsyncIterator[FailoverTransport]:
    """Open a transport, and close its connections at the end.

    Raises ConfigurationError for an invalid URL.
    """
    for url in urls:
        try:
            build_request(url, b"")
        except (httpx.InvalidURL, ValueError):
            raise ConfigurationError(f"the RPC URL of {host_of(url)} is not valid") from None
    pool = EndpointPool(urls, clock=trio.current_time)
    if metrics is not None:
        show_endpoints(pool, metrics)
    async with open_http() as http:
        yield FailoverTransport(pool, http, timeout=timeout, metrics=metrics)


def failure_of(
    replies: Sequence[EndpointReply], *, refused: Sequence[Endpoint] = ()
) -> RpcError | ChainUnavailable:
    """Return one error for replies that all failed: the nodes' own errors if there are any."""
    errors = [each.answer for each in replies if isinstance(each.answer, RpcError)]
    if errors:
        message = "; ".join(dict.fromkeys(each.message for each in errors))
        return RpcError(errors[0].code, message, errors[0].data)
    failures = [each.answer for each in replies if isinstance(each.answer, ChainUnavailable)]
    if not failures:
        return all_unavailable(refused)
    kind = ChainTimeout if all(isinstance(e, ChainTimeout) for e in failures) else ChainUnavailable
    return kind("; ".join(dict.fromkeys(map(str, failures))))


def all_unavailable(endpoints: Sequence[Endpoint]) -> ChainUnavailable:
    """Return the error for endpoints none of which may be used."""
    reasons = [each.refused for each in endpoints if each.refused is not None]
    if reasons and len(reasons) == len(endpoints):
        return ChainUnavailable("; ".join(reasons))
    return ChainUnavailable("every RPC endpoint is marked down")
