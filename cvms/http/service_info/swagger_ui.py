"""GET /openapi.json, and GET /docs, which shows it with the Swagger UI of an installed package.

GET / leads there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources

import msgspec
import trio
from werkzeug.exceptions import NotFound

from cvms.http.framework.edge import Edge
from cvms.http.framework.request import Request
from cvms.http.framework.response import Response, bytes_with_strong_etag
from cvms.http.framework.routing import Route
from cvms.http.service_info.openapi import openapi_document

ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
    "narrow.css": "text/css; charset=utf-8",
}
# Swagger UI sets inline styles on the elements that it creates.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>CVMS</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/narrow.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = b"""SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""

# Swagger UI expects at least a tablet. On a telephone, tables become blocks and long words break.
NARROW = b"""@media (max-width: 640px) {
  .swagger-ui { overflow-wrap: anywhere; }
  .swagger-ui .wrapper { padding: 0 10px; }
  .swagger-ui table, .swagger-ui tbody, .swagger-ui tr, .swagger-ui td {
    display: block; width: auto; max-width: 100%; min-width: 0;
  }
  .swagger-ui thead { display: none; }
  .swagger-ui pre { white-space: pre-wrap; }
  .swagger-ui input, .swagger-ui textarea, .swagger-ui select { max-width: 100%; min-width: 0; }
}
"""
OWN_ASSETS = {"start.js": START, "narrow.css": NARROW}


def register_docs(app: Edge, routes: Iterable[Route]) -> None:
    """Add the document of these routes, and the page that shows it, to the application.

    The document is made when it is first asked for: that takes longer than the rest of a start.
    """
    making = trio.Lock()
    made: list[bytes] = []

    async def openapi(request: Request, variables: Mapping[str, str]) -> Response:
        async with making:
            if not made:
                made.append(await trio.to_thread.run_sync(_encoded, app, routes))
        return bytes_with_strong_etag(made[0])

    app.add("GET", "/openapi.json", openapi)
    app.add("GET", "/", _lead_to_docs)
    app.add("GET", "/docs", _page)
    app.add("GET", "/docs/<name>", _asset)


def _encoded(app: Edge, routes: Iterable[Route]) -> bytes:
    return msgspec.json.encode(openapi_document(app, routes))


async def _lead_to_docs(request: Request, variables: Mapping[str, str]) -> Response:
    return Response(b"", 302, {"Location": "docs"})  # relative, for a proxy that adds a prefix


async def _page(request: Request, variables: Mapping[str, str]) -> Response:
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": PAGE_POLICY}
    return Response(PAGE, 200, headers)


async def _asset(request: Request, variables: Mapping[str, str]) -> Response:
    name = variables["name"]
    if name not in ASSETS:
        raise NotFound
    content = OWN_ASSETS.get(name)
    if content is None:
        content = resources.files("swagger_ui").joinpath("static", name).read_bytes()
    return bytes_with_strong_etag(content, ASSETS[name])
