"""A request has an id that its line, its response and its caller's logs share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, MutableSequence
from ipaddress import ip_network

import pytest
import structlog
from structlog.testing import capture_logs

from cvms.log.fields import add_log_fields
from cvms.log.request_lines import REFUSALS
from tests.harness.service import Service, running

Logs = MutableSequence[structlog.typing.EventDict]
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
# Te changes nothing in an answer, but is not ordinary: Quart answers instead of the short way.
WAYS = {"short": {}, "by Quart": {"TE": "trailers"}}


@pytest.fixture
async def proxied(database_url: str) -> AsyncIterator[Service]:
    """The front end behind a trusted proxy, which the test is."""
    async with running(database_url, trusted_proxies=(ip_network("127.0.0.1"),)) as service:
        yield service


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs(processors=[add_log_fields]) as captured:
        yield captured


def written(logs: Logs) -> Logs:
    """Return the lines about requests that the level `info` shows."""
    about = [each for each in logs if each["event"].startswith("request_")]
    return [each for each in about if each["log_level"] != "debug"]


async def given_id(service: Service, headers: dict[str, str], way: str) -> str:
    reply = await service.http.get(service.url + "/api/vault/tvl", headers=headers | WAYS[way])
    return reply.headers["X-Request-Id"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_trusted_proxy_names_the_request(proxied: Service, way: str) -> None:
    assert await given_id(proxied, {"X-Request-Id": "Abc-1.2_3"}, way) == "Abc-1.2_3"
    assert await given_id(proxied, {"traceparent": TRACEPARENT}, way) == TRACE
    both = {"traceparent": TRACEPARENT, "X-Request-Id": "a1"}
    assert await given_id(proxied, both, way) == "a1"
    for bad in ("x" * 65, "a b", 'a"b', "-a", ""):
        fresh = await given_id(proxied, {"X-Request-Id": bad}, way)
        assert len(fresh) == 16
        assert int(fresh, 16) >= 0


@pytest.mark.parametrize("way", WAYS)
async def test_nobody_else_does(service: Service, way: str) -> None:
    headers = {"X-Request-Id": "Abc-1.2_3", "traceparent": TRACEPARENT}
    first, second = [await given_id(service, headers, way) for _ in range(2)]
    assert not {first, second} & {"Abc-1.2_3", TRACE}
    assert first != second


@pytest.mark.parametrize("way", WAYS)
async def test_a_change_has_a_line_and_reads_have_none_above_debug(
    service: Service, logs: Logs, way: str
) -> None:
    body = {"owner": "11111111111111111111111111111111"}
    reply = await service.http.post(service.url + "/api/auth/nonce", json=body, headers=WAYS[way])
    assert reply.status_code == 200
    await service.get("/api/vault/tvl")
    [line] = written(logs)
    assert line["milliseconds"] > 0
    shown = ("event", "method", "route", "status", "request_id")
    assert [line[name] for name in shown] == [
        "request_answered",
        "POST",
        "/api/auth/nonce",
        200,
        reply.headers["X-Request-Id"],
    ]


async def test_of_many_refusals_the_first_few_have_a_line(service: Service, logs: Logs) -> None:
    for number in range(REFUSALS + 3):
        await service.get(f"/api/nothing/{number}")
    await service.post("/api/auth/nonce", {})
    refused = [(each["code"], each["status"]) for each in written(logs)]
    assert refused == [("not_found", 404)] * REFUSALS + [("invalid_request", 400)]
