"""CORS: the web pages of other origins that may call the service (Fetch standard)."""

from __future__ import annotations

from collections.abc import Collection

from quart import Response
from quart.wrappers import Request
from werkzeug.wrappers import Response as WerkzeugResponse

METHODS = "GET, POST, DELETE"
HEADERS = "Authorization, Content-Type, Idempotency-Key, If-None-Match, X-2FA-CODE, X-Min-Slot"
EXPOSED = "ETag, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-Id"
PREFLIGHT_SECONDS = 600


class Cors:
    """Allows exactly the listed origins, each as a browser sends it; never `*`.

    Credentials are not allowed: the service has no cookies, and scripts send tokens themselves.
    """

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origins)

    def preflight(self, request: Request) -> Response | None:
        """Return the response to a preflight of an allowed origin; None for any other request."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        if request.headers.get("Origin") not in self._origins:
            return None
        headers = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        return Response(b"", status=204, headers=headers)

    def allow(self, request: Request, response: Response | WerkzeugResponse) -> None:
        """Let the requesting page read the response, if its origin is allowed."""
        if not self._origins:
            return
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin in self._origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
