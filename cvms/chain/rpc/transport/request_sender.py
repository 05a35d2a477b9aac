"""One attempt at one endpoint: its outcome, and what that says about the endpoint's health."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import trio

from cvms.chain.rpc.error_codes import MIN_CONTEXT_SLOT_NOT_REACHED, NODE_UNHEALTHY
from cvms.chain.rpc.transport import jsonrpc
from cvms.chain.rpc.transport.endpoint_pool import Endpoint, EndpointPool
from cvms.chain.rpc.transport.http_post import BadStatus, post
from cvms.chain.rpc.transport.throttle_errors import is_batch_refused, is_throttled
from cvms.errors import ChainTimeout, ChainUnavailable, RpcError
from cvms.metrics import Metrics

Answers = list[Any | RpcError]


@dataclass(frozen=True, slots=True)
class RpcRequest:
    """The body of one or more calls, and `read`, which decodes the responses in the calls' order.

    `at_slot` is the slot that a node must have reached. `newest` says that the responses hold for
    the newest slot of the node, which finalized ones do not.
    """

    methods: Sequence[str]
    body: bytes
    read: Callable[[bytes], Answers]
    at_slot: int = 0
    newest: bool = False


class AttemptFailed(Exception):
    """The endpoint did not respond.

    `unsent`: it cannot have received the request, or has refused it. `broken`: the connection
    broke, which a kept-alive one may do at any time.
    """

    def __init__(
        self, outcome: ChainUnavailable, *, unsent: bool = False, broken: bool = False
    ) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome
        self.unsent = unsent
        self.broken = broken


class Throttled(AttemptFailed):
    """The endpoint throttled the request; its rate limiter knows when to try again.

    `hopeless`: not before the deadline.
    """

    def __init__(self, outcome: ChainUnavailable, *, hopeless: bool = False) -> None:
        super().__init__(outcome, unsent=True)
        self.hopeless = hopeless


class BatchRefused(Exception):
    """The endpoint accepts at most `max_calls` calls in one request."""

    def __init__(self, max_calls: int) -> None:
        super().__init__(f"at most {max_calls} calls in a batch")
        self.max_calls = max_calls


class RequestSender:
    """Sends requests and records their outcome. A cancelled one leaves no trace."""

    def __init__(
        self, pool: EndpointPool, http: httpx.AsyncHTTPTransport, metrics: Metrics | None
    ) -> None:
        self._pool = pool
        self._http = http
        self._metrics = metrics

    async def send_once(self, endpoint: Endpoint, request: RpcRequest, seconds: float) -> Answers:
        """Send the request and return the responses, within `seconds`.

        Raises AttemptFailed, Throttled or BatchRefused.
        """
        began = trio.current_time()
        endpoint.rate_limiter.sent(len(request.methods))
        with self._pool.trial(endpoint):
            try:
                with trio.fail_after(max(seconds, 0)):
                    answers = request.read(
                        await post(self._http, endpoint.url, request.body, seconds=seconds)
                    )
            except (trio.TooSlowError, httpx.RequestError, jsonrpc.MalformedResponse) as error:
                raise self._failed(endpoint, error, seconds) from error
            except BadStatus as error:
                raise self._refused(endpoint, error, request, began) from error
        self._saw_slots(endpoint, request, answers)
        self._judge(endpoint, request, answers, began)
        return answers

    def _failed(self, endpoint: Endpoint, error: Exception, seconds: float) -> AttemptFailed:
        if isinstance(error, httpx.PoolTimeout):
            # All our own connections are busy, which is no fault of the endpoint.
            return AttemptFailed(ChainTimeout("no connection came free"), unsent=True)
        failure = _failure_of(endpoint.host, error, seconds)
        self._pool.failed(endpoint, str(failure.outcome))
        timed_out = isinstance(failure.outcome, ChainTimeout)
        self._count(endpoint, "timeout" if timed_out else "unavailable")
        return failure

    def _refused(
        self, endpoint: Endpoint, error: BadStatus, request: RpcRequest, began: float
    ) -> AttemptFailed | BatchRefused:
        if error.status == httpx.codes.TOO_MANY_REQUESTS:
            return self._throttled(endpoint, began, error.retry_after)
        if error.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE and len(request.methods) > 1:
            return self._too_large(endpoint, request)
        outcome = ChainUnavailable(f"{endpoint.host}: {error}")
        self._pool.failed(endpoint, str(outcome), retry_after=error.retry_after)
        self._count(endpoint, "unavailable")
        return AttemptFailed(outcome)

    def _judge(
        self, endpoint: Endpoint, request: RpcRequest, answers: Answers, began: float
    ) -> None:
        if len(answers) > 1 and all(is_batch_refused(each) for each in answers):
            raise self._too_large(endpoint, request)
        if any(is_throttled(each) for each in answers):
            failure = self._throttled(endpoint, began, 0.0)
            if all(is_throttled(each) for each in answers):
                raise failure
            return  # the caller repeats the throttled calls
        if any(is_behind(each) for each in answers):
            self._pool.failed(endpoint, f"{endpoint.host} is behind")
            self._count(endpoint, "error")
            return
        self._pool.succeeded(endpoint, trio.current_time() - began)
        failed = any(isinstance(each, RpcError) for each in answers)
        self._count(endpoint, "error" if failed else "ok")

    def _throttled(self, endpoint: Endpoint, began: float, retry_after: float) -> Throttled:
        endpoint.rate_limiter.refused(began=began, retry_after=retry_after)
        self._count(endpoint, "throttled")
        return Throttled(throttled(endpoint))

    def _too_large(self, endpoint: Endpoint, request: RpcRequest) -> BatchRefused:
        self._pool.succeeded(endpoint)
        endpoint.batch_limit = max(1, min(endpoint.batch_limit, len(request.methods) // 2))
        self._count(endpoint, "error")
        return BatchRefused(endpoint.batch_limit)

    def _saw_slots(self, endpoint: Endpoint, request: RpcRequest, answers: Answers) -> None:
        for method, answer in zip(request.methods, answers, strict=True):
            slot = _slot_of(method, answer)
            if slot is not None:
                self._pool.saw(endpoint, slot, newest=request.newest)

    def _count(self, endpoint: Endpoint, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.rpc_endpoint_requests.labels(endpoint.host, outcome).inc()


def throttled(endpoint: Endpoint) -> ChainUnavailable:
    """Return the outcome for an endpoint that throttles for now."""
    return ChainUnavailable(f"{endpoint.host} is asked too often")


def is_behind(answer: Any | RpcError) -> bool:
    """Return whether the node says that it is behind the cluster."""
    return (
        isinstance(answer, RpcError) and answer.code == NODE_UNHEALTHY and not is_throttled(answer)
    )


def retry_elsewhere(answers: Answers) -> bool:
    """Return whether another node may have seen what this one has not."""
    return any(
        is_behind(each)
        or (isinstance(each, RpcError) and each.code == MIN_CONTEXT_SLOT_NOT_REACHED)
        for each in answers
    )


def _failure_of(host: str, error: Exception, seconds: float) -> AttemptFailed:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        outcome = ChainUnavailable(f"{host} does not accept the connection")
        return AttemptFailed(outcome, unsent=True)
    if isinstance(error, trio.TooSlowError | httpx.TimeoutException):
        return AttemptFailed(ChainTimeout(f"{host} did not answer within {seconds:.3g} s"))
    if isinstance(error, httpx.RequestError):
        return AttemptFailed(ChainUnavailable(f"{host}: {type(error).__name__}"), broken=True)
    return AttemptFailed(ChainUnavailable(f"{host}: {error}"))


def _slot_of(method: str, answer: Any | RpcError) -> int | None:
    """Return the slot that a response holds for, None when it does not say."""
    slot: Any = None
    if isinstance(answer, RpcError):
        slot = answer.data.get("contextSlot") if isinstance(answer.data, dict) else None
    elif isinstance(answer, dict):
        context = answer.get("context")
        slot = context.get("slot") if isinstance(context, dict) else None
    elif method == "getSlot":
        slot = answer
    return slot if type(slot) is int else None
