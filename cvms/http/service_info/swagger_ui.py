"""GET /openapi.json, and GET /docs, which shows it with the Swagger UI of an installed package."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib import resources
from typing import Any

import msgspec
from quart import Response
from werkzeug.exceptions import NotFound

from cvms.http.framework.edge import Edge
from cvms.http.framework.response import bytes_with_strong_etag
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
    document = cache(lambda: msgspec.json.encode(openapi_document(app, routes)))
    app.add_url_rule("/openapi.json", "openapi", partial(_document, document))
    app.add_url_rule("/docs", "docs", _page)
    app.add_url_rule("/docs/<name>", "docs_asset", _asset)


async def _document(document: Callable[[], bytes]) -> Response:
    return bytes_with_strong_etag(document(), "application/json")


async def _page() -> Response:
    headers = {"Content-Security-Policy": PAGE_POLICY}
    return Response(PAGE, content_type="text/html; charset=utf-8", headers=headers)


async def _asset(name: str) -> Any:
    if name not in ASSETS:
        raise NotFound
    file = resources.files("swagger_ui").joinpath("static", name)
    content = START if name == "start.js" else file.read_bytes()
    return bytes_with_strong_etag(content, ASSETS[name])
