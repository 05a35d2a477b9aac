"""A message has one end for every parser, and a request one spelling of its target."""

from __future__ import annotations

import re

import pytest
from structlog.testing import capture_logs

from cvms.config.settings import Rates
from cvms.http.server import http1_protocol
from cvms.store.redis.rate_limiter import Rate
from tests.harness.service import Service, handshake, running
from tests.http.server.raw_requests import HEALTH, answers, ask, connected

POST = b"POST /api/auth/nonce HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
NO_CHUNKS = b"\r\n\r\n0\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)

IN_DOUBT = {
    "a length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked" + NO_CHUNKS,
    "chunks and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2" + NO_CHUNKS,
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "the same length twice": POST + b"Content-Length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "chunked not last": POST + b"Transfer-Encoding: chunked, identity" + NO_CHUNKS,
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked" + NO_CHUNKS,
    "two codings": POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked" + NO_CHUNKS,
    "another coding": POST + b"Transfer-Encoding: xchunked" + NO_CHUNKS,
    "chunks in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked" + NO_CHUNKS,
    "a folded header": POST
    + b"X-Folded: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    "a header folded by a tab": POST + b"Content-Length:\r\n\t0\r\n\r\n",
    "a space before the colon": POST + b"Content-Length : 0\r\n\r\n",
    "a line without CR": POST + b"X: a\nContent-Length: 0\r\n\r\n",
    "a head without CR": POST.replace(b"\r", b"") + b"Content-Length: 0\n\n",
    "a CR without LF": POST + b"X: a\rContent-Length: 5\r\nContent-Length: 0\r\n\r\n",
    "a chunk's size without CR": CHUNKED + b"2;x\n{}\r\n0\r\n\r\n",
    "a CR in a chunk's extension": CHUNKED + b"2;x\ry\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"2\r\n{}{}\r\n0\r\n\r\n",
    "a trailer without CR": CHUNKED + b"2\r\n{}\r\n0\r\nX: a\nY: b\r\n\r\n",
    "a folded trailer": CHUNKED + b"2\r\n{}\r\n0\r\nX: a\r\n b\r\n\r\n",
    "a handshake with a body": UPGRADE + b"Content-Length: 40\r\n\r\n",
    "a handshake with chunks": UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n",
    "a target that is no URL": b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target with a user": b"GET http://u:p@x/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target of another scheme": b"GET ftp://x/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target for a tunnel": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a host with a space": b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a host with a path": b"GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a host with a user": b"GET /health HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "two hosts in one": b"GET /health HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "a host with a port that is no number": b"GET /health HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "the server as a page": b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", IN_DOUBT)
async def test_a_message_whose_end_is_in_doubt_is_a_400_and_the_last(
    service: Service, name: str
) -> None:
    """What follows it, here a request, is not answered: it may be a part of the message."""
    with capture_logs() as logs:
        async with connected(service) as stream:
            received = await answers(stream, IN_DOUBT[name] + HEALTH)
    assert received.startswith(b"HTTP/1.1 400 "), received
    assert b"content-length: 0" in received.lower()  # the application has not seen it
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in received.lower()
    assert not [line for line in logs if "exc_info" in line]


async def test_chunks_in_http_1_0_do_not_reach_the_application(service: Service) -> None:
    async with connected(service) as stream:
        received = await answers(stream, IN_DOUBT["chunks in HTTP/1.0"])
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"content-length: 0" in received.lower()


async def test_another_version_of_http_is_a_505(service: Service) -> None:
    async with connected(service) as stream:
        received = await answers(stream, b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n" + HEALTH)
    assert received.startswith(b"HTTP/1.1 505 ")
    assert received.count(b"HTTP/1.1 ") == 1


WHOLE = {
    "chunks with an extension": CHUNKED + b"1;x=y\r\n{\r\n1\r\n}\r\n0\r\nX: a\r\n\r\n",
    "a length in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n\r\n{}",
    "a length": POST + b"Content-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("name", WHOLE)
async def test_any_other_message_reaches_the_application_whole(service: Service, name: str) -> None:
    async with connected(service) as stream:
        answer = await ask(stream, WHOLE[name])
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"required field" in answer  # of the object that is the body


async def test_a_body_may_arrive_in_any_pieces(service: Service) -> None:
    for request in WHOLE.values():
        async with connected(service) as stream:
            for position in range(len(request) - 1):
                await stream.send_all(request[position : position + 1])
            assert b"required field" in await ask(stream, request[-1:])


async def test_a_body_in_very_many_chunks_is_too_large(service: Service) -> None:
    """Each chunk costs the server some time, however small it is."""
    start, end = CHUNKED + b"1\r\n{\r\n", b"1\r\n}\r\n0\r\n\r\n"
    for count, status in ((http1_protocol.MAX_CHUNKS - 2, b"400"), (60_000, b"413")):
        async with connected(service) as stream:
            answer = await ask(stream, start + b"1\r\n \r\n" * count + end)
        assert answer[9:12] == status


async def test_a_client_that_asks_first_whether_to_send_a_body_sends_none_that_is_too_large(
    service: Service,
) -> None:
    """RFC 9110, 10.1.1: 100 only if the body is wanted."""
    expect = POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    async with connected(service) as stream:
        assert (await ask(stream, expect % 2)).startswith(b"HTTP/1.1 100 ")
        assert b"required field" in await ask(stream, b"{}")
    async with connected(service) as stream:
        received = await answers(stream, expect % 100_000)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in received.lower()


async def test_requests_that_arrive_together_are_answered_in_order(service: Service) -> None:
    async with connected(service) as stream:
        last = HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        received = await answers(stream, WHOLE["a length"] * 2 + HEALTH + last)
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [
        b"400",
        b"400",
        b"200",
        b"200",
    ]


ANSWERED = {
    b"GET http://api.example.com/health": b"200",
    b"GET HTTPS://api.example.com:443/health?a=b": b"200",
    b"GET http://[2001:db8::1]:8080/health": b"200",
    b"GET http://api.example.com": b"302",
    b"GET http://api.example.com?a=b": b"302",
    b"POST http://api.example.com/health": b"405",
    b"OPTIONS *": b"204",
    b"OPTIONS http://api.example.com": b"204",
}


@pytest.mark.parametrize("line", ANSWERED)
async def test_targets_in_every_form_are_answered(service: Service, line: bytes) -> None:
    async with connected(service) as stream:
        for _ in range(2):  # the connection stays open
            answer = await ask(stream, line + b" HTTP/1.1\r\nHost: other\r\n\r\n")
            assert answer[9:12] == ANSWERED[line], answer
            assert b"x-content-type-options: nosniff" in answer.lower()
            assert (b"allow: " in answer.lower()) == (ANSWERED[line] in {b"204", b"405"})


async def test_the_target_names_the_host_and_not_the_header(service: Service) -> None:
    async def host() -> str:
        from quart import request

        return request.host

    service.app.add_url_rule("/host", "host", host)
    async with connected(service) as stream:
        answer = await ask(
            stream, b"GET http://api.example.com/host HTTP/1.1\r\nHost: other\r\n\r\n"
        )
    assert answer.endswith(b"api.example.com")


OTHER_SPELLINGS = (
    "//metrics",
    "///metrics",
    "/%2Fmetrics",
    "/%2fmetrics",
    "//health",
    "/%2Fready",
    "//api/vault/tvl",
    "/api%2Fvault/tvl",
    "/api/vault%2ftvl",
    "//docs",
    "/%6Detrics",
    "/metric%73",
    "/%48ealth",
    "/api/%76ault/tvl",
)


async def test_another_spelling_of_a_path_is_not_found(service: Service) -> None:
    for path in OTHER_SPELLINGS:
        async with connected(service) as stream:
            answer = await ask(stream, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404 "), path
        assert b'"not_found"' in answer
    for path in ("/metrics", "/api/vault/tvl"):
        assert (await service.get(path)).status_code == 200, path


async def test_another_spelling_of_the_websockets_path_is_not_found(service: Service) -> None:
    for path in ("//ws", "/%2Fws", "/%77s"):
        assert (await handshake(service, path)).status_code == 404, path


async def test_another_spelling_of_a_probes_path_counts_as_a_request(database_url: str) -> None:
    async with running(database_url, rates=Rates(address=Rate(1, 3600))) as service:
        for expected in (b"404", b"429"):
            async with connected(service) as stream:
                answer = await ask(stream, b"GET //metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer[9:12] == expected
