"""The edge of the service, where every request gets its id, its deadline and its response.

Every exception of a handler ends up here, exception groups included: Quart-Trio would answer with
one member of a group and drop the others.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import trio
from quart import Response
from quart.routing import QuartRule
from quart.wrappers import Request, Websocket
from quart_trio import QuartTrio
from structlog.contextvars import bound_contextvars
from werkzeug.routing import ValidationError
from werkzeug.wrappers import Response as WerkzeugResponse

from cvms.errors import NotFound, Overloaded, RateLimited, leaves
from cvms.http.framework.cors import Cors
from cvms.http.framework.problems import problem_response, resolve
from cvms.http.framework.rate_limits import RateLimits, limit_headers
from cvms.metrics import Metrics

log = structlog.get_logger(__name__)

REQUEST_SECONDS = 15.0
MAX_BODY = 64 * 1024
MAX_IN_FLIGHT = 256
MAX_IN_FLIGHT_OF_ADDRESS = 64
# Needed most when the service is overloaded.
ALWAYS_ANSWERED = frozenset({"/health", "/ready", "/metrics"})
METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
# A slash, a digit or a letter.
_NEEDLESSLY_ENCODED = re.compile(rb"%(2f|3[0-9]|[46][1-9a-f]|[57][0-9a])", re.IGNORECASE)

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class RequestRule(QuartRule):
    """A rule that requests are matched to, and from which no URL is built.

    Compiling the functions that build URLs takes longer than the rest of a front end.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        return _build_no_url


def _build_no_url(rule: RequestRule, **values: Any) -> tuple[str, str]:
    raise ValidationError(f"no URL is built from {rule.rule}")


class Edge(QuartTrio):
    """Quart-Trio with limits on a request's body and time, and on the requests in flight."""

    url_rule_class = RequestRule  # type: ignore[assignment]  # as that of Quart

    def __init__(
        self,
        import_name: str,
        *,
        limits: RateLimits,
        metrics: Metrics,
        cors: Cors | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        super().__init__(import_name, static_folder=None, template_folder=None)
        self.config["MAX_CONTENT_LENGTH"] = MAX_BODY
        self.config["BODY_TIMEOUT"] = REQUEST_SECONDS
        self.config["RESPONSE_TIMEOUT"] = None  # each write has a deadline of its own
        self.url_map.merge_slashes = False
        self.metrics = metrics
        self._limits = limits
        self._cors = cors or Cors()
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._in_flight_of_address: Counter[str] = Counter()
        self.background: list[Callable[[], Awaitable[None]]] = []
        """Tasks that run while the server accepts clients."""
        self.shutdown_hooks: list[Callable[[], Awaitable[None]]] = []
        """Called at shutdown before the connections are closed. They must return soon."""

    async def handle_request(self, request: Request) -> Response | WerkzeugResponse:
        """Answer a request. Raises nothing but cancellation."""
        request_id = secrets.token_hex(8)
        with bound_contextvars(request_id=request_id, method=request.method, path=request.path):
            response = await self._answer(request)
            log.debug("request_answered", status=response.status_code)
            response.headers.update(limit_headers())
        response.headers["X-Request-Id"] = request_id
        self._cors.allow(request, response)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    async def handle_websocket(self, websocket: Websocket) -> Response | WerkzeugResponse | None:
        """Serve a WebSocket. A refused handshake is answered with a problem."""
        request_id = secrets.token_hex(8)
        with bound_contextvars(request_id=request_id, path=websocket.path):
            try:
                await self._limits.admit(websocket)
                _check_path(websocket)
                async with self.websocket_context(websocket) as context:
                    return await self.full_dispatch_websocket(context)
            except (Exception, BaseExceptionGroup) as error:
                return _error_response(error)

    async def handle_user_exception(self, error: Any) -> Any:
        """Raise the error again, for `_answer` to handle it."""
        raise error

    async def _answer(self, request: Request) -> Response | WerkzeugResponse:
        try:
            with trio.fail_after(REQUEST_SECONDS):
                if request.path in ALWAYS_ANSWERED and _is_plain(request):
                    return await self._dispatch(request)
                with self._slot_of_address(self._limits.address_of(request)):
                    # Before the slot for all: whoever is refused has used up its allowance.
                    await self._limits.admit(request)
                    with self._slot():
                        _check_path(request)
                        return await self._dispatch(request)
        except (Exception, BaseExceptionGroup) as error:
            return _error_response(error)

    async def _dispatch(self, request: Request) -> Response | WerkzeugResponse:
        if (preflight := self._cors.preflight(request)) is not None:
            return preflight
        if request.scope["raw_path"] == b"*":
            return Response(b"", status=204, headers={"Allow": METHODS})
        async with self.request_context(request) as context:
            return await self.full_dispatch_request(context)

    @contextmanager
    def _slot_of_address(self, address: str) -> Iterator[None]:
        """Count a request in flight for its client. Raises RateLimited for one too many."""
        if self._in_flight_of_address[address] >= MAX_IN_FLIGHT_OF_ADDRESS:
            self.metrics.limited.labels(scope="in_flight").inc()
            raise RateLimited(
                f"This address has {MAX_IN_FLIGHT_OF_ADDRESS} requests in progress, the maximum.",
                retry_after=1,
            )
        self._in_flight_of_address[address] += 1
        try:
            yield
        finally:
            self._in_flight_of_address[address] -= 1
            if not self._in_flight_of_address[address]:
                del self._in_flight_of_address[address]

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Count a request in flight. Raises Overloaded rather than queue without bound."""
        if self._in_flight >= self._max_in_flight:
            self.metrics.refused.labels(reason="overloaded").inc()
            raise Overloaded(
                f"The service is already handling {self._max_in_flight} requests, its maximum. "
                "Try again in a moment."
            )
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1


def _is_plain(request: Request | Websocket) -> bool:
    """Return whether the path is the one that the client sent: one spelling for each route.

    Werkzeug merges slashes at the start, and decoding makes a slash of `%2F` and a letter of `%6D`:
    not every proxy that hides a route does so.
    """
    plain = request.scope["path"] == request.path
    return plain and not _NEEDLESSLY_ENCODED.search(request.scope["raw_path"])


def _check_path(request: Request | Websocket) -> None:
    """Raise NotFound for another spelling of a path, and for a path of another port."""
    target = request.scope["raw_path"].decode("ascii", "replace")
    if request.scope["raw_path"] != b"*" and not _is_plain(request):
        raise NotFound(f"There is nothing at {target}.")
    if request.scope["state"].get("probes_only"):
        raise NotFound(f"This port has {', '.join(sorted(ALWAYS_ANSWERED))} only.")


def _error_response(error: BaseException) -> Response:
    if all(isinstance(leaf, trio.Cancelled) for leaf in leaves(error)):
        raise error
    return problem_response(resolve(error))
