"""The edge of the service, where every request gets its id, its deadline and its response.

Every exception of a handler ends up here, exception groups included: Quart-Trio would answer with
one member of a group and drop the others.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import perf_counter, time
from typing import Any, cast

import trio
from quart import Request as QuartRequest
from quart import Response as QuartResponse
from quart.routing import QuartMap, QuartRule
from quart.wrappers import Websocket
from quart_trio import QuartTrio
from werkzeug.datastructures import Headers
from werkzeug.routing import RuleFactory, ValidationError

from cvms.errors import NotFound, Overloaded, RateLimited, leaves
from cvms.http.framework.client_address import is_trusted
from cvms.http.framework.cors import Cors
from cvms.http.framework.problems import problem_response, resolve
from cvms.http.framework.rate_limits import RateLimits, limit_headers
from cvms.http.framework.request import Request, current_request
from cvms.http.framework.response import NO_BODY, ByteStream, Response
from cvms.http.framework.routing import Method, RouteTable, View, template_of
from cvms.log.fields import log_fields
from cvms.log.request_lines import FAILED, SAFE_METHODS, RequestLines, request_id_of
from cvms.metrics import Metrics
from cvms.metrics.http_metrics import RouteMetrics
from cvms.traces.spans import NO_TRACES, Attribute, Span, Traces
from cvms.traces.trace_context import RequestTrace, TraceContext, new_trace, parse_traceparent

REQUEST_SECONDS = 15.0
MAX_BODY = 64 * 1024
MAX_PATH_LOGGED = 256
MAX_IN_FLIGHT = 256
MAX_IN_FLIGHT_OF_ADDRESS = 64
# Needed most when the service is overloaded.
ALWAYS_ANSWERED = frozenset({"/health", "/ready", "/ready/traffic", "/metrics"})
METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
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


class RequestMap(QuartMap):
    """A map that compiles its rules when one is first looked for.

    Ordinary requests are found in the table of routes, so that few processes need it at once.
    """

    def __init__(self, **options: Any) -> None:
        self._added: list[RuleFactory] = []
        super().__init__(**options)

    def add(self, rulefactory: RuleFactory) -> None:
        self._added.append(rulefactory)

    def update(self) -> None:
        """Compile what was added. Called before anything is read from the map."""
        added, self._added = self._added, []
        for each in added:
            super().add(each)
        super().update()


def _build_no_url(rule: RequestRule, **values: Any) -> tuple[str, str]:
    raise ValidationError(f"no URL is built from {rule.rule}")


class Edge(QuartTrio):
    """Quart-Trio with limits on a request's body and time, and on the requests in flight."""

    url_rule_class = RequestRule  # type: ignore[assignment]  # as that of Quart
    url_map_class = RequestMap  # type: ignore[assignment]

    def __init__(
        self,
        import_name: str,
        *,
        limits: RateLimits,
        metrics: Metrics,
        cors: Cors | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        traces: Traces = NO_TRACES,
    ) -> None:
        super().__init__(import_name, static_folder=None, template_folder=None)
        self.config["MAX_CONTENT_LENGTH"] = MAX_BODY
        self.config["BODY_TIMEOUT"] = REQUEST_SECONDS
        self.config["RESPONSE_TIMEOUT"] = None  # each write has a deadline of its own
        self.url_map.merge_slashes = False
        self.routes = RouteTable()
        self.metrics = metrics
        self._limits = limits
        self._cors = cors or Cors()
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._lines = RequestLines()
        self._traces = traces
        self._in_flight_of_address: Counter[str] = Counter()
        self._websocket_metrics = metrics.http.of_route("GET", "/ws")
        self.background: list[Callable[[], Awaitable[None]]] = []
        """Tasks that run while the server accepts clients."""
        self.shutdown_hooks: list[Callable[[], Awaitable[None]]] = []
        """Called at shutdown before the connections are closed. They must return soon."""

    def add(self, method: Method, rule: str, view: View) -> None:
        """Add a route: to Quart's URL map, and to the table for ordinary requests."""

        route = self.metrics.http.of_route(method, template_of(rule))
        counted_view = partial(_counted, route, view)

        async def quart_view(**variables: str) -> QuartResponse:
            return _quart_response(await counted_view(current_request(), variables))

        self.add_url_rule(rule, f"{method} {rule}", quart_view, methods=[method])
        self.routes.add(method, rule, counted_view)

    async def handle_request(self, request: QuartRequest) -> QuartResponse:
        """Answer a request that Quart has received. Raises nothing but cancellation."""
        response = await self.answer(_request_of(request), partial(self._dispatch, request))
        return _quart_response(response)

    async def answer(
        self, request: Request, respond: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Return the response of `respond`, or the problem that came of it, with all headers.

        Raises nothing but cancellation.
        """
        began = perf_counter()
        self._begin(request)
        response = await self._admit(request, respond)
        seconds = perf_counter() - began
        route = request.route or self.metrics.http.unmatched(request.method)
        route.answered(response.status, seconds)
        probe = request.path in ALWAYS_ANSWERED
        self._lines.write(request.method, response.status, seconds, probe=probe)
        if request.trace is not None:
            self._traces.record(_request_span(request, request.trace, response.status, seconds))
        headers = response.headers
        headers.update(limit_headers(request.allowances))
        headers["X-Request-Id"] = request.id
        if request.indexed_slot is not None:
            headers["X-Slot"] = str(request.indexed_slot)
        if request.clamped_limit is not None:
            headers["X-Limit-Clamped"] = str(request.clamped_limit)
        self._cors.allow(request, response)
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        if response.status not in NO_BODY and response.stream is None:
            headers["Content-Length"] = str(len(response.body))
        return response

    async def handle_websocket(self, websocket: Websocket) -> QuartResponse | Any:
        """Serve a WebSocket. A refused handshake is answered with a problem."""
        request = _request_of(websocket)
        began = perf_counter()
        self._begin(request)
        try:
            await self._limits.admit(request)
            _check_path(request)
            async with self.websocket_context(websocket) as context:
                return await self.full_dispatch_websocket(context)
        except (Exception, BaseExceptionGroup) as error:
            response = _error_response(error)
            self._websocket_metrics.counted(response.status)
            self._lines.write("GET", response.status, perf_counter() - began, probe=False)
            return _quart_response(response)

    def _begin(self, request: Request) -> None:
        """Make the request the current one, with the id that a trusted proxy gave it."""
        parent = None
        if is_trusted(request.peer, self._limits.proxies):
            parent = parse_traceparent(request.headers.get("traceparent", ()))
            given = request.headers.get("x-request-id", ())
            request.id = request_id_of(given, parent.trace_id if parent else None) or request.id
        if self._traces.enabled:
            request.trace = _trace_of(request, parent)
        request.make_current()
        path = request.path[:MAX_PATH_LOGGED]
        log_fields.set({"request_id": request.id, "method": request.method, "path": path})

    async def handle_user_exception(self, error: Any) -> Any:
        """Raise the error again, for `answer` to handle it."""
        raise error

    async def _admit(
        self, request: Request, respond: Callable[[], Awaitable[Response]]
    ) -> Response:
        # Each response pays for what is here: no `fail_after`, no generators.
        scope = trio.CancelScope(deadline=trio.current_time() + REQUEST_SECONDS)
        try:
            with scope:
                if request.path in ALWAYS_ANSWERED and request.plain:
                    return await respond()
                address = self._limits.address_of(request)
                self._take_slot_of_address(address)
                try:
                    # Before the slot for all: whoever is refused has used up its allowance.
                    await self._limits.admit(request)
                    self._take_slot()
                    try:
                        _check_path(request)
                        return await respond()
                    finally:
                        self._in_flight -= 1
                finally:
                    self._release_slot_of_address(address)
            raise trio.TooSlowError
        except (Exception, BaseExceptionGroup) as error:
            return _error_response(error)

    async def _dispatch(self, quart_request: QuartRequest) -> Response:
        request = current_request()
        if (preflight := self._cors.preflight(request)) is not None:
            return preflight
        if request.raw_path == b"*":
            return Response(b"", 204, {"Allow": METHODS})
        async with self.request_context(quart_request) as context:
            response = await self.full_dispatch_request(context)
        assert isinstance(response, QuartResponse)
        if isinstance(response, _StreamedResponse):
            if request.method == "HEAD":
                await response.streamed.aclose()
                return Response(b"", response.status_code, dict(response.headers))
            headers = dict(response.headers)
            return Response(b"", response.status_code, headers, response.streamed)
        body = await response.get_data(as_text=False)
        return Response(body, response.status_code, dict(response.headers))

    def _take_slot_of_address(self, address: str) -> None:
        """Count a request in flight for its client. Raises RateLimited for one too many."""
        if self._in_flight_of_address[address] >= MAX_IN_FLIGHT_OF_ADDRESS:
            self.metrics.http.limited.labels(scope="in_flight").inc()
            raise RateLimited(
                f"This address has {MAX_IN_FLIGHT_OF_ADDRESS} requests in progress, the maximum.",
                retry_after=1,
            )
        self._in_flight_of_address[address] += 1

    def _release_slot_of_address(self, address: str) -> None:
        self._in_flight_of_address[address] -= 1
        if not self._in_flight_of_address[address]:
            del self._in_flight_of_address[address]

    def _take_slot(self) -> None:
        """Count a request in flight. Raises Overloaded rather than queue without bound."""
        if self._in_flight >= self._max_in_flight:
            self.metrics.http.refused.labels(reason="overloaded").inc()
            raise Overloaded(
                f"The service is already handling {self._max_in_flight} requests, its maximum. "
                "Try again in a moment."
            )
        self._in_flight += 1


def _trace_of(request: Request, parent: TraceContext | None) -> RequestTrace | None:
    """Return the trace of a request: that of its caller, or else a new one if it may change
    something; reads would be most of all traces.
    """
    if parent is not None:
        return RequestTrace(parent.child(), parent) if parent.sampled else None
    return None if request.method in SAFE_METHODS else RequestTrace(new_trace())


def _request_span(request: Request, trace: RequestTrace, status: int, seconds: float) -> Span:
    fields, ended = log_fields.get({}), time()
    known = {name: fields[name] for name in ("owner", "signature", "code") if name in fields}
    attributes: dict[str, Attribute] = {f"cvms.{name}": value for name, value in known.items()}
    attributes |= {
        "http.request.method": request.method,
        "http.route": fields.get("route", ""),
        "http.response.status_code": status,
        "cvms.request_id": request.id,
    }
    return Span(
        name=f"{request.method} {fields.get('route', '')}".rstrip(),
        context=trace.context,
        parent=trace.parent,
        kind="server",
        started=ended - seconds,
        ended=ended,
        failed=status >= FAILED,
        attributes=attributes,
    )


def _request_of(quart: QuartRequest | Websocket) -> Request:
    """Return the request that Quart has received.

    Its path is plain if it is the one that the client sent, so that there is one spelling for each
    route. Werkzeug merges slashes at the start, and decoding makes a slash of `%2F` and a letter of
    `%6D`: not every proxy that hides a route does so.
    """
    scope = quart.scope
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin1").lower(), []).append(value.decode("latin1"))

    async def body() -> bytes:
        assert isinstance(quart, QuartRequest)
        return cast("bytes", await quart.get_data(as_text=False))

    client = scope.get("client")
    return Request(
        quart.method if isinstance(quart, QuartRequest) else "GET",
        quart.path,
        raw_path=scope["raw_path"],
        query_string=scope["query_string"],
        headers=headers,
        body=body,
        peer=client[0] if client else "",
        plain=scope["path"] == quart.path and not _NEEDLESSLY_ENCODED.search(scope["raw_path"]),
        probes_only=bool(scope["state"].get("probes_only")),
        identity=secrets.token_hex(8),
    )


def _counted(
    route: RouteMetrics, view: View, request: Request, variables: Mapping[str, str]
) -> Awaitable[Response]:
    """Answer a request with the view of a route, whose metrics count it."""
    request.route = route
    return view(request, variables)


class _StreamedResponse(QuartResponse):
    """A response whose body is made while it is sent."""

    def __init__(self, stream: ByteStream, status: int) -> None:
        super().__init__(aiter(stream), status)
        self.streamed = stream


def _quart_response(response: Response) -> QuartResponse:
    converted: QuartResponse
    if response.stream is not None:
        converted = _StreamedResponse(response.stream, response.status)
    else:
        converted = QuartResponse(response.body, response.status)
    converted.headers = Headers(response.headers)
    return converted


def _check_path(request: Request) -> None:
    """Raise NotFound for another spelling of a path, and for a path of another port."""
    if request.raw_path != b"*" and not request.plain:
        raise NotFound(f"There is nothing at {request.raw_path.decode('ascii', 'replace')}.")
    if request.probes_only:
        raise NotFound(f"This port has {', '.join(sorted(ALWAYS_ANSWERED))} only.")


def _error_response(error: BaseException) -> Response:
    if all(isinstance(leaf, trio.Cancelled) for leaf in leaves(error)):
        raise error
    return problem_response(resolve(error))
