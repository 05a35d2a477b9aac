"""GET /openapi.json, and a page at /docs that shows it with Swagger UI from the package."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import partial
from importlib import resources
from typing import Any

import msgspec
from quart import Response
from werkzeug.exceptions import NotFound

from cvms.http.framework.edge import Edge
from cvms.http.framework.response import conditional
from cvms.http.framework.routing import Route
from cvms.http.service_info.openapi import openapi_document

ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
}
# Swagger UI writes styles into the elements that it makes.
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
    """Put the document of these routes, and the page that shows it, on the application."""
    document = msgspec.json.encode(openapi_document(app, routes))
    app.add_url_rule("/openapi.json", "openapi", partial(_static, document, "application/json"))
    app.add_url_rule("/docs", "docs", _page)
    app.add_url_rule("/docs/<name>", "docs_asset", _asset)


async def _static(content: bytes, content_type: str) -> Response:
    etag = hashlib.sha256(content).hexdigest()[:32]
    return conditional(Response(content, content_type=content_type), etag)


async def _page() -> Response:
    headers = {"Content-Security-Policy": PAGE_POLICY}
    return Response(PAGE, content_type="text/html; charset=utf-8", headers=headers)


async def _asset(name: str) -> Any:
    if name not in ASSETS:
        raise NotFound
    if name == "start.js":
        return await _static(START, ASSETS[name])
    content = resources.files("swagger_ui").joinpath("static", name).read_bytes()
    return await _static(content, ASSETS[name])
