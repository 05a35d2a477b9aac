"""One attempt at one endpoint: its outcome, and what that says about the endpoint's health."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import structlog
import trio

from cvms.chain.rpc.error_codes import NODE_UNHEALTHY
from cvms.chain.rpc.transport import jsonrpc
from cvms.chain.rpc.transport.endpoint_pool import BATCH_THROTTLES, Endpoint, EndpointPool
from cvms.chain.rpc.transport.error_kinds import (
    ErrorKind,
    is_batch_refused,
    is_throttled,
    kind_of,
    normalized,
)
from cvms.chain.rpc.transport.http_post import BadStatus, post
from cvms.errors import ChainTimeout, ChainUnavailable, MethodRefused, RpcError
from cvms.metrics import Metrics

_log = structlog.get_logger(__name__)

Answers = list[Any | RpcError]

MAX_WORDS = 200
"""Characters shown of the body of a refusal."""
MAX_MESSAGE_LENGTH = 500
"""Characters kept of an error's message, for logs and replies; a node's own are one sentence."""
TOO_LARGE = httpx.codes.REQUEST_ENTITY_TOO_LARGE
REFUSES_BATCHES = frozenset({400, 403, 405, 422, 500, 501})
"""Statuses with which a gateway refuses a batch, and other requests too."""
REFUSES_METHOD = frozenset({400, 401, 403, 404, 405, 410, 413, 422, 451, 501})
"""Statuses that say that this request is not served, whereas others may be."""


@dataclass(frozen=True, slots=True)
class RpcRequest:
    """The body of one or more calls, and `read`, which decodes the responses in the calls' order.

    `parse` checks one response, by its place: it returns the value, or raises RpcError for another
    shape. `at_slot` is the slot that a node must have reached. `newest` says that the responses
    hold for the newest slot of the node, which finalized ones do not.
    """

    methods: Sequence[str]
    body: bytes
    read: Callable[[bytes], Answers]
    parse: Callable[[int, Any], Any]
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
        self, pool: EndpointPool, http: httpx.AsyncBaseTransport, metrics: Metrics | None
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
        with self._pool.trial(endpoint), self._timed(endpoint, request, began):
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
        answers = [_checked(endpoint, request, *each) for each in enumerate(answers)]
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
        words = _shown(endpoint, error.words, MAX_WORDS)
        problem = f"{error}: {words}" if words else str(error)
        calls = len(request.methods)
        if error.status == httpx.codes.TOO_MANY_REQUESTS:
            return self._throttled(endpoint, problem, calls, began, error.retry_after)
        if calls > 1 and error.status == TOO_LARGE:
            return self._batch_refused(endpoint, calls // 2, problem)
        if calls > 1 and error.status in REFUSES_BATCHES:
            return self._batch_refused(endpoint, 1, problem)
        self._count(endpoint, "unavailable")
        if error.status in REFUSES_METHOD:
            for method in set(request.methods):
                self._pool.method_failed(endpoint, method, problem)
            return AttemptFailed(MethodRefused(f"{endpoint.host}: {problem}"), unsent=True)
        outcome = ChainUnavailable(f"{endpoint.host}: {problem}")
        self._pool.failed(endpoint, str(outcome), retry_after=error.retry_after)
        return AttemptFailed(outcome)

    def _judge(
        self, endpoint: Endpoint, request: RpcRequest, answers: Answers, began: float
    ) -> None:
        errors = [each for each in answers if isinstance(each, RpcError)]
        kinds = {kind_of(each) for each in errors}
        if len(answers) > 1:
            if len(errors) == len(answers) and all(map(is_batch_refused, errors)):
                size = len(answers) // 2 if _is_about_size(errors[0].message) else 1
                raise self._batch_refused(endpoint, size, errors[0].message)
            endpoint.batch_throttles = 0
        if ErrorKind.THROTTLED in kinds:
            failure = self._throttled(endpoint, errors[0].message, len(answers), began, 0.0)
            if all(map(is_throttled, answers)):
                raise failure
            return  # the caller repeats the throttled calls
        if any(each.code == NODE_UNHEALTHY for each in errors):
            self._pool.failed(endpoint, f"{endpoint.host} is behind")
            self._count(endpoint, "error")
            return
        self._judge_methods(endpoint, request, answers)
        if ErrorKind.FAULT not in kinds:
            self._pool.succeeded(endpoint, trio.current_time() - began)
        self._count(endpoint, "error" if errors else "ok")

    def _judge_methods(self, endpoint: Endpoint, request: RpcRequest, answers: Answers) -> None:
        faults: dict[str, RpcError] = {}
        served: set[str] = set()
        for method, answer in zip(request.methods, answers, strict=True):
            if not isinstance(answer, RpcError):
                served.add(method)
            elif kind_of(answer) is ErrorKind.FAULT:
                faults[method] = answer
        self._pool.served(endpoint, served)
        for method, error in faults.items():
            if method not in served:
                self._pool.method_failed(endpoint, method, str(error))

    def _throttled(
        self, endpoint: Endpoint, problem: str, calls: int, began: float, retry_after: float
    ) -> Throttled | BatchRefused:
        if calls > 1:
            endpoint.batch_throttles += 1
            if "batch" in problem.lower() or endpoint.batch_throttles >= BATCH_THROTTLES:
                return self._batch_refused(endpoint, 1, problem)
        endpoint.rate_limiter.refused(began=began, retry_after=retry_after)
        self._count(endpoint, "throttled")
        return Throttled(throttled(endpoint))

    def _batch_refused(self, endpoint: Endpoint, size: int, problem: str) -> BatchRefused:
        endpoint.batch_throttles = 0
        self._pool.limit_batch(endpoint, size)
        self._count(endpoint, "error")
        _log.info(
            "rpc_batch_refused", endpoint=endpoint.host, reason=problem, limit=endpoint.batch_limit
        )
        return BatchRefused(endpoint.batch_limit)

    def _saw_slots(self, endpoint: Endpoint, request: RpcRequest, answers: Answers) -> None:
        for method, answer in zip(request.methods, answers, strict=True):
            slot = _slot_of(method, answer)
            if slot is not None:
                self._pool.saw(endpoint, slot, newest=request.newest)

    @contextmanager
    def _timed(self, endpoint: Endpoint, request: RpcRequest, began: float) -> Iterator[None]:
        """Record the time of an attempt, for each of its methods; not of a cancelled one."""
        cancelled = True
        try:
            yield
            cancelled = False
        except Exception:
            cancelled = False
            raise
        finally:
            if self._metrics is not None and not cancelled:
                for method in set(request.methods):
                    seconds = self._metrics.rpc.request_seconds.labels(endpoint.host, method)
                    seconds.observe(trio.current_time() - began)

    def _count(self, endpoint: Endpoint, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.rpc.endpoint_requests.labels(endpoint.host, outcome).inc()


def throttled(endpoint: Endpoint) -> ChainUnavailable:
    """Return the outcome for an endpoint that throttles for now."""
    return ChainUnavailable(f"{endpoint.host} is asked too often")


def _checked(endpoint: Endpoint, request: RpcRequest, place: int, answer: Any | RpcError) -> Any:
    """Return the parsed value, or an error as a value: the node's, or for an unexpected shape."""
    if isinstance(answer, RpcError):
        message = _shown(endpoint, answer.message, MAX_MESSAGE_LENGTH)
        return normalized(RpcError(answer.code, message, answer.data))
    try:
        return request.parse(place, answer)
    except RpcError as error:
        return error


def _shown(endpoint: Endpoint, words: str, length: int) -> str:
    """Return a provider's words without the URL's key, then shortened: a cut key is not found."""
    return endpoint.redact(words)[:length]


def _is_about_size(message: str) -> bool:
    return any(word in message.lower() for word in ("size", "large", "limit", "max", "exceed"))


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
