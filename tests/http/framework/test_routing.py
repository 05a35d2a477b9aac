"""The table of routes finds what Quart's URL map finds."""

from __future__ import annotations

import random

import pytest
from werkzeug.exceptions import HTTPException

from cvms.http.framework.request import Request
from cvms.http.framework.response import Response
from cvms.http.framework.routing import RouteTable
from tests.harness.service import Service


async def test_the_table_finds_the_route_that_quart_finds(service: Service) -> None:
    """Whatever it does not find is left to Quart, so it must find every declared route too."""
    app, chance, found = service.app, random.Random(1), set()
    rules = [rule.rule for rule in app.url_map.iter_rules() if not rule.websocket]
    segments = sorted({part for rule in rules for part in rule.split("/")})
    lengths = [1, 31, 32, 44, 45]
    adapter = app.url_map.bind("x")
    for rule in rules * 40:
        parts = [
            "x" * chance.choice(lengths) if "<" in part or chance.random() < 0.02 else part
            for part in rule.split("/")[1:]
        ]
        parts.insert(0, "")
        if chance.random() < 0.2:
            parts[chance.randrange(1, len(parts))] = chance.choice(segments)
        if chance.random() < 0.1:
            parts.append(chance.choice(segments))
        path, method = "/".join(parts), chance.choice(["GET", "POST", "PUT", "DELETE"])
        if path.startswith("//"):
            continue  # the map alone reads it like a path with one slash; the service answers 404
        match = app.routes.find(method, path)
        if match is None:
            with pytest.raises(HTTPException):
                adapter.match(path, method)
            continue
        endpoint, values = adapter.match(path, method)
        assert values == match[1]
        assert app.routes.views[endpoint] is match[0]
        found.add(endpoint)
    assert found == {rule.endpoint for rule in app.url_map.iter_rules() if not rule.websocket}


async def test_a_path_with_another_number_of_slashes_is_not_found(service: Service) -> None:
    for path in ("//health", "//metrics", "///docs", "/api//config", "/health/"):
        assert (await service.get(path)).status_code == 404, path


def test_a_rule_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="<int:number>"):
        RouteTable().add("GET", "/a/<int:number>", _view)


async def _view(request: Request, variables: object) -> Response:
    return Response(b"")
