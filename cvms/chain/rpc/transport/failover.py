"""JSON-RPC over HTTP towards several endpoints: deadlines, failover, no more than they take."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import trio

from cvms.chain.rpc.transport import jsonrpc
from cvms.chain.rpc.transport.attempt import (
    Answers,
    AttemptFailed,
    BatchRefused,
    Request,
    RequestSender,
    Throttled,
    retry_elsewhere,
    throttled,
)
from cvms.chain.rpc.transport.endpoint_pool import LARGEST_BATCH, Endpoint, EndpointPool, host_of
from cvms.chain.rpc.transport.endpoint_state import show_endpoints
from cvms.chain.rpc.transport.http_post import build_request, open_http
from cvms.chain.rpc.transport.throttle_errors import is_throttled
from cvms.errors import ChainTimeout, ChainUnavailable, ConfigurationError, RpcError
from cvms.metrics import Metrics

MAX_TRIES = 3  # endpoints that one call is tried at; each has its share of the timeout
BATCH_DEADLINES = 30  # that 100 calls may take in all, where an endpoint wants to be asked slowly

Call = tuple[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class EndpointReply:
    """What one endpoint answered: a result or an RpcError; a ChainUnavailable when nothing."""

    endpoint: Endpoint
    answer: Any

    @property
    def ok(self) -> bool:
        return not isinstance(self.answer, RpcError | ChainUnavailable)


class _FailoverState:
    """The tries of one request: where it need not be tried again, and what came of it so far."""

    def __init__(self, *, repeatable: bool) -> None:
        self._repeatable = repeatable
        self._answers: Answers | None = None
        self._failure: AttemptFailed | None = None
        self._done = False
        self.ended: list[Endpoint] = []

    @property
    def over(self) -> bool:
        return self._done or len(self.ended) >= MAX_TRIES

    def answered(self, endpoint: Endpoint, answers: Answers) -> None:
        """A node that is behind is an answer, if no other has a better one."""
        self._answers = answers
        self._done = not self._repeatable or not retry_elsewhere(answers)
        self.ended.append(endpoint)

    def failed(self, endpoint: Endpoint, failure: AttemptFailed, *, last: bool) -> None:
        """`last`: there is no other endpoint to try."""
        died_idle = last and failure.broken and self._failure is None
        self._failure = failure
        if isinstance(failure, Throttled):
            self._done = failure.hopeless  # its pace says when it may be tried again
            return
        self._done = not (self._repeatable or failure.unsent)
        if not died_idle:
            self.ended.append(endpoint)

    def outcome(self, *, none: Callable[[], ChainUnavailable]) -> Answers:
        """The answers, or raises what came instead."""
        if self._answers is not None:
            return self._answers
        if self._failure is not None:
            raise self._failure.outcome from self._failure.__cause__
        raise none()


class FailoverTransport:
    """Calls and batches against several endpoints. Build it with `open_transport`."""

    def __init__(
        self,
        pool: EndpointPool,
        http: httpx.AsyncHTTPTransport,
        *,
        timeout: float,
        metrics: Metrics | None,
    ) -> None:
        self.pool = pool
        self._attempts = RequestSender(pool, http, metrics)
        self._timeout = timeout
        self.metrics = metrics
        self._ids = itertools.count(1)

    @property
    def available(self) -> bool:
        """False while every endpoint is marked down: calls then fail at once."""
        return self.pool.available

    async def call(
        self,
        method: str,
        params: Sequence[Any],
        *,
        repeatable: bool = True,
        at_slot: int = 0,
    ) -> Any:
        """One call, answered within the timeout, all tries and waits included.

        Unless `repeatable`, another endpoint is tried only when one cannot have seen it, or says
        that it is asked too often. An endpoint known to have reached `at_slot` (or the params'
        minContextSlot) comes first. Raises RpcError, ChainTimeout or ChainUnavailable.
        """
        [answer] = await self._exchange(
            self._single(method, params, at_slot), repeatable=repeatable
        )
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call], *, at_slot: int = 0) -> list[Any | RpcError]:
        """The answers in the order of the calls, all of them reads; a node's error is a value.

        At most 100 calls go into one request, fewer where an endpoint takes fewer or is to be asked
        more slowly. Each request has the timeout to itself. Raises ChainTimeout or ChainUnavailable
        when one fails.
        """
        answers: dict[int, Any | RpcError] = {}
        left = deque(range(len(calls)))
        hundreds = max(1.0, len(calls) / LARGEST_BATCH)
        end = trio.current_time() + self._timeout * BATCH_DEADLINES * hundreds
        size = LARGEST_BATCH
        while left:
            if trio.current_time() > end:
                raise ChainTimeout("the calls of a batch are answered too slowly")
            size = min(size, self._batch_size(at_slot))
            chosen = [left.popleft() for _ in range(min(size, len(left)))]
            request = self._several([calls[index] for index in chosen], at_slot)
            try:
                some = await self._exchange(request, repeatable=True)
            except BatchRefused as refused:
                left.extendleft(reversed(chosen))
                size = max(1, min(refused.most, len(chosen) // 2))
                continue
            size = LARGEST_BATCH
            answered = dict(zip(chosen, some, strict=True))
            answers |= answered
            # Not all of them, or it would have been an exception: each round gets further.
            left.extendleft(i for i in reversed(chosen) if is_throttled(answered[i]))
        return [answers[index] for index in range(len(calls))]

    async def everywhere(
        self,
        method: str,
        params: Sequence[Any],
        *,
        grace: float | None = None,
        doubtful: bool = False,
    ) -> list[EndpointReply]:
        """Ask every healthy endpoint at once, best first in the answer; see `query_each`.

        Those that disagree with the others, or are back and not compared with them yet, are asked
        if there is no other, or if `doubtful`.
        Raises ChainUnavailable when there is none.
        """
        healthy = self.pool.candidates()
        if not healthy:
            raise self._nobody()
        believed = [each for each in healthy if each.checked and not each.disagrees]
        endpoints = healthy if doubtful else believed or healthy
        heard = await self.query_each(endpoints, method, params, grace=grace)
        if any(each.ok for each in heard):
            self._count([method], "ok")
        else:
            failed = any(isinstance(each.answer, RpcError) for each in heard)
            self._count([method], "error" if failed else "unavailable")
        return heard

    async def query_each(
        self,
        endpoints: Sequence[Endpoint],
        method: str,
        params: Sequence[Any],
        *,
        seconds: float | None = None,
        grace: float | None = None,
    ) -> list[EndpointReply]:
        """Ask these at once, each with the same deadline, and return what each said, in order.

        With `grace` the rest have so many seconds after the first success.
        """
        request = self._single(method, params, 0)
        answers: dict[int, Any] = {}
        deadline = trio.current_time() + (self._timeout if seconds is None else seconds)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def ask(endpoint: Endpoint) -> None:
                    heard = EndpointReply(
                        endpoint, await self._ask_one(endpoint, request, deadline)
                    )
                    answers[endpoint.order] = heard.answer
                    if grace is not None and heard.ok:
                        scope.deadline = min(scope.deadline, trio.current_time() + grace)

                for endpoint in endpoints:
                    nursery.start_soon(ask, endpoint)
        late = ChainTimeout("not waited for any longer")
        return [EndpointReply(each, answers.get(each.order, late)) for each in endpoints]

    async def _ask_one(self, endpoint: Endpoint, request: Request, deadline: float) -> Any:
        try:
            while not await self._turn(endpoint, request, deadline):
                continue
            seconds = deadline - trio.current_time()
            [answer] = await self._attempts.send_once(endpoint, request, seconds)
        except AttemptFailed as failure:
            return failure.outcome
        return answer

    async def _exchange(self, request: Request, *, repeatable: bool) -> Answers:
        try:
            answers = await self._try_in_turn(request, repeatable=repeatable)
        except ChainUnavailable as outcome:
            timed_out = isinstance(outcome, ChainTimeout)
            self._count(request.methods, "timeout" if timed_out else "unavailable")
            raise
        for method, answer in zip(request.methods, answers, strict=True):
            self._count([method], "error" if isinstance(answer, RpcError) else "ok")
        return answers

    async def _try_in_turn(self, request: Request, *, repeatable: bool) -> Answers:
        deadline = trio.current_time() + self._timeout
        tries = _FailoverState(repeatable=repeatable)
        while not tries.over:
            order = self.pool.candidates(at_slot=request.at_slot, without=tries.ended)
            if not order:
                break
            if len(request.methods) > (most := _max_batch(order[0])):
                raise BatchRefused(most)
            share = min(len(order), MAX_TRIES - len(tries.ended))
            try:
                if await self._turn(order[0], request, deadline):
                    seconds = (deadline - trio.current_time()) / share
                    answers = await self._attempts.send_once(order[0], request, seconds)
                    tries.answered(order[0], answers)
            except AttemptFailed as failure:
                tries.failed(order[0], failure, last=len(order) == 1)
        return tries.outcome(none=self._nobody)

    async def _turn(self, endpoint: Endpoint, request: Request, deadline: float) -> bool:
        """Wait until it is this request's turn; False when the endpoint has refused meanwhile.

        Raises Throttled when that would be after the deadline.
        """
        pace, calls = endpoint.rate_limiter, len(request.methods)
        wait = pace.reserve(calls)
        if not wait:
            return True
        if trio.current_time() + wait >= deadline:
            pace.release(calls)
            raise Throttled(throttled(endpoint), hopeless=True)
        try:
            await trio.sleep(wait)
        except trio.Cancelled:
            pace.release(calls)
            raise
        if pace.paused:
            pace.release(calls)
            return False
        return True

    def _batch_size(self, at_slot: int) -> int:
        order = self.pool.candidates(at_slot=at_slot)
        return _max_batch(order[0]) if order else LARGEST_BATCH

    def _nobody(self) -> ChainUnavailable:
        return all_unavailable(self.pool.all())

    def _single(self, method: str, params: Sequence[Any], at_slot: int) -> Request:
        call_id = next(self._ids)
        given = params[-1] if params else None
        options = given if isinstance(given, dict) else {}
        return Request(
            methods=[method],
            body=jsonrpc.encode_body(jsonrpc.encode_call(call_id, method, params)),
            read=lambda content: [jsonrpc.decode_answer(content, call_id)],
            at_slot=max(at_slot, options.get("minContextSlot") or 0),
            newest=options.get("commitment") in ("processed", "confirmed"),
        )

    def _several(self, calls: Sequence[Call], at_slot: int) -> Request:
        if len(calls) == 1:  # some endpoints take no batches at all
            return self._single(*calls[0], at_slot)
        ids = [next(self._ids) for _ in calls]
        requests = [
            jsonrpc.encode_call(call_id, method, params)
            for call_id, (method, params) in zip(ids, calls, strict=True)
        ]
        return Request(
            methods=[method for method, _ in calls],
            body=jsonrpc.encode_body(requests),
            read=lambda content: jsonrpc.decode_batch(content, ids),
            at_slot=at_slot,
        )

    def _count(self, methods: Collection[str], outcome: str) -> None:
        if self.metrics is not None:
            for method in methods:
                self.metrics.rpc_requests.labels(method, outcome).inc()


def _max_batch(endpoint: Endpoint) -> int:
    """How many calls one request to it may hold now."""
    return int(min(endpoint.batch_limit, endpoint.rate_limiter.burst))


@asynccontextmanager
async def open_transport(
    urls: Sequence[str], *, timeout: float, metrics: Metrics | None
) -> AsyncIterator[FailoverTransport]:
    """Connections are kept alive and closed at the end. Raises ConfigurationError on a bad URL."""
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
    heard: Sequence[EndpointReply], *, refused: Sequence[Endpoint] = ()
) -> RpcError | ChainUnavailable:
    """One error for what none of them did: a node's own words before a silence."""
    errors = [each.answer for each in heard if isinstance(each.answer, RpcError)]
    if errors:
        words = "; ".join(dict.fromkeys(each.message for each in errors))
        return RpcError(errors[0].code, words, errors[0].data)
    failures = [each.answer for each in heard if isinstance(each.answer, ChainUnavailable)]
    if not failures:
        return all_unavailable(refused)
    kind = ChainTimeout if all(isinstance(e, ChainTimeout) for e in failures) else ChainUnavailable
    return kind("; ".join(dict.fromkeys(map(str, failures))))


def all_unavailable(endpoints: Sequence[Endpoint]) -> ChainUnavailable:
    """Why none of these may be asked."""
    reasons = [each.refused for each in endpoints if each.refused is not None]
    if reasons and len(reasons) == len(endpoints):
        return ChainUnavailable("; ".join(reasons))
    return ChainUnavailable("every RPC endpoint is marked down")
