"""CORS: the web pages of other origins that may call the service (Fetch standard)."""

from __future__ import annotations

import re
from collections.abc import Collection

from cvms.http.framework.request import Request
from cvms.http.framework.response import Response

METHODS = "GET, POST, PUT, DELETE"
# What clients send, and what tracing libraries and pages that bypass a cache add by themselves.
HEADERS = (
    "Authorization, Baggage, Cache-Control, Content-Type, Idempotency-Key, If-None-Match, "
    "Sentry-Trace, Traceparent, Tracestate, X-2FA-CODE, X-Min-Slot"
)
EXPOSED = (
    "ETag, Idempotency-Replayed, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
    "Retry-After, X-Limit-Clamped, X-Request-Id, X-Slot"
)
PREFLIGHT_SECONDS = 600
_PORT = re.compile(r"[1-9][0-9]{0,4}")


class Cors:
    """Allows exactly the listed origins, each as a browser sends it; never `*`.

    With `*` as its port, an origin of this machine stands for its pages on every port.

    Credentials are not allowed: the service has no cookies, and scripts send tokens themselves.
    """

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origins)

    def preflight(self, request: Request) -> Response | None:
        """Return the response to a preflight of an allowed origin; None for any other request."""
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        if not self._allows(request.header("origin")):
            return None
        headers = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        return Response(b"", 204, headers)

    def allow(self, request: Request, response: Response) -> None:
        """Let the requesting page read the response, if its origin is allowed."""
        if not self._origins:
            return
        vary = response.headers.get("Vary")
        response.headers["Vary"] = f"{vary}, Origin" if vary else "Origin"
        origin = request.header("origin")
        if origin is not None and self._allows(origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED

    def _allows(self, origin: str | None) -> bool:
        if origin is None:
            return False
        if origin in self._origins:
            return not origin.endswith("*")
        host, _, port = origin.rpartition(":")
        return f"{host}:*" in self._origins and _PORT.fullmatch(port) is not None
