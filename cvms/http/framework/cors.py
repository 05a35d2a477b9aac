"""Which web pages of other origins may call the service (the Fetch standard's CORS protocol)."""

from __future__ import annotations

from collections.abc import Collection

from quart import Response
from quart.wrappers import Request
from werkzeug.wrappers import Response as WerkzeugResponse

METHODS = "GET, POST, DELETE"
HEADERS = "Authorization, Content-Type, Idempotency-Key, If-None-Match, X-2FA-CODE"
EXPOSED = "ETag, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-Id"
PREFLIGHT_SECONDS = 600


class Cors:
    """Allows the origins of a list, each exactly as a browser sends it; no others, and never `*`.

    Credentials are not allowed: the service knows no cookies, and tokens are sent by scripts.
    """

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origins)

    def preflight(self, request: Request) -> Response | None:
        """The answer to a browser that asks before it asks; None for any other request."""
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not asks or request.headers.get("Origin") not in self._origins:
            return None
        headers = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        return Response(b"", status=204, headers=headers)

    def allow(self, request: Request, response: Response | WerkzeugResponse) -> None:
        """Let the page that asked read the answer, if its origin is on the list."""
        if not self._origins:
            return
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin in self._origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
