"""The front end: routes, wallet signatures, problems, WebSockets and the HTTP server."""

from cvms.http.app import create_app
from cvms.http.server.server import serve_http

__all__ = ["create_app", "serve_http"]
