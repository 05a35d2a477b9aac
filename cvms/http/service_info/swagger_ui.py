"""GET /openapi.json, and GET /docs, which shows it with the Swagger UI of an installed package."""

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
    app.add("GET", "/docs", _page)
    app.add("GET", "/docs/<name>", _asset)


def _encoded(app: Edge, routes: Iterable[Route]) -> bytes:
    return msgspec.json.encode(openapi_document(app, routes))


async def _page(request: Request, variables: Mapping[str, str]) -> Response:
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": PAGE_POLICY}
    return Response(PAGE, 200, headers)


async def _asset(request: Request, variables: Mapping[str, str]) -> Response:
    name = variables["name"]
    if name not in ASSETS:
        raise NotFound
    file = resources.files("swagger_ui").joinpath("static", name)
    content = START if name == "start.js" else file.read_bytes()
    return bytes_with_strong_etag(content, ASSETS[name])
