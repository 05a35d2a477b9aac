"""CORS: the web pages of other origins that may call the service (Fetch standard)."""

from __future__ import annotations

from collections.abc import Collection

from cvms.http.framework.request import Request
from cvms.http.framework.response import Response

METHODS = "GET, POST, DELETE"
HEADERS = "Authorization, Content-Type, Idempotency-Key, If-None-Match, X-2FA-CODE, X-Min-Slot"
EXPOSED = (
    "ETag, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Limit-Clamped, "
    "X-Request-Id, X-Slot"
)
PREFLIGHT_SECONDS = 600


class Cors:
    """Allows exactly the listed origins, each as a browser sends it; never `*`.

    Credentials are not allowed: the service has no cookies, and scripts send tokens themselves.
    """

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origins)

    def preflight(self, request: Request) -> Response | None:
        """Return the response to a preflight of an allowed origin; None for any other request."""
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        if request.header("origin") not in self._origins:
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
        if origin is not None and origin in self._origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
