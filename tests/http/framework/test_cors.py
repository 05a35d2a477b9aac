"""Web pages of other origins may call the service if it lists them."""

from __future__ import annotations

import httpx
import pytest

from cvms.config.parsers import origin
from tests.harness.service import Service, running

APP = "https://app.example"


async def ask(service: Service, method: str, origin: str, **headers: str) -> httpx.Response:
    url = f"{service.url}/api/vault/tvl"
    return await service.http.request(method, url, headers={"Origin": origin} | headers)


async def preflight(service: Service, origin: str) -> httpx.Response:
    return await ask(service, "OPTIONS", origin, **{"Access-Control-Request-Method": "POST"})


def names_in(reply: httpx.Response, header: str) -> set[str]:
    return {name.strip().lower() for name in reply.headers[header].split(",")}


async def test_only_listed_origins_may_read_responses(database_url: str) -> None:
    async with running(database_url, cors_origins=(APP,)) as service:
        listed = await ask(service, "GET", APP)
        assert listed.headers["Access-Control-Allow-Origin"] == APP
        assert listed.headers["Vary"] in {"Origin", "Accept, Origin"}
        for origin in ("https://evil.example", "https://app.example.evil", "null"):
            reply = await ask(service, "GET", origin)
            assert "Access-Control-Allow-Origin" not in reply.headers
            assert reply.headers["Vary"] in {"Origin", "Accept, Origin"}
        asked = await preflight(service, APP)
        assert asked.status_code == 204
        assert "post" in names_in(asked, "Access-Control-Allow-Methods")
        refused = await preflight(service, "https://evil.example")
        assert "Access-Control-Allow-Methods" not in refused.headers


async def test_pages_may_send_what_clients_and_tracing_libraries_add(database_url: str) -> None:
    async with running(database_url, cors_origins=(APP,)) as service:
        allowed = names_in(await preflight(service, APP), "Access-Control-Allow-Headers")
    assert allowed >= {"authorization", "content-type", "idempotency-key", "if-none-match"}
    assert allowed >= {"x-2fa-code", "x-min-slot", "cache-control"}
    assert allowed >= {"traceparent", "tracestate", "baggage", "sentry-trace"}


async def test_pages_may_read_the_headers_that_clients_need(database_url: str) -> None:
    async with running(database_url, cors_origins=(APP,)) as service:
        exposed = names_in(await ask(service, "GET", APP), "Access-Control-Expose-Headers")
    assert exposed >= {"etag", "retry-after", "x-slot", "x-request-id", "idempotency-replayed"}
    assert exposed >= {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}


async def test_a_star_as_port_stands_for_every_port_of_this_machine(database_url: str) -> None:
    async with running(database_url, cors_origins=("http://localhost:*",)) as service:
        for allowed in ("http://localhost:5173", "http://localhost:1"):
            reply = await ask(service, "GET", allowed)
            assert reply.headers["Access-Control-Allow-Origin"] == allowed
            assert (await preflight(service, allowed)).status_code == 204
        for refused in (
            "http://localhost:*",
            "http://localhost",
            "http://localhost:",
            "http://localhost:80.evil.example",
            "http://localhost:80@evil.example",
            "https://localhost:443",
            "http://evil.example:80",
        ):
            reply = await ask(service, "GET", refused)
            assert "Access-Control-Allow-Origin" not in reply.headers, refused


def test_only_an_origin_of_this_machine_may_have_a_star_as_port() -> None:
    assert origin("http://localhost:*") == "http://localhost:*"
    for refused in ("*", "https://*", "https://app.example:*", "http://localhost.example:*"):
        with pytest.raises(ValueError, match=r"^$"):
            origin(refused)
