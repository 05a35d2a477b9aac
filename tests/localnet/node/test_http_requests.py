"""What the port takes as an HTTP request, byte by byte, and what it refuses."""

from __future__ import annotations

import json

import pytest
import trio

from cvms.localnet.node import request_parser
from tests.localnet.local_node import Node
from tests.localnet.node.test_node_connection import raw, read_all

CALL = b'{"jsonrpc":"2.0","id":%d,"method":"getHealth"}'
ONE = CALL % 1
HOST = b"Host: x\r\n"
CLOSE = b"Connection: close\r\n"


def post(headers: bytes, body: bytes = ONE, *, version: bytes = b"1.1") -> bytes:
    return b"POST / HTTP/" + version + b"\r\n" + headers + b"\r\n" + body


def sized(body: bytes = ONE, *, more: bytes = b"") -> bytes:
    return post(HOST + more + b"Content-Length: %d\r\n" % len(body), body)


def chunked(body: bytes, *, more: bytes = b"") -> bytes:
    return post(HOST + more + b"Transfer-Encoding: chunked\r\n", body)


CHUNKS = b"5\r\n" + ONE[:5] + b"\r\n%x\r\n" % len(ONE[5:]) + ONE[5:] + b"\r\n"

REFUSED = {
    "no host": post(b"Content-Length: 46\r\n"),
    "two hosts": sized(more=HOST),
    "two hosts in HTTP/1.0": post(HOST + HOST, b"", version=b"1.0"),
    "two different lengths": sized(more=b"Content-Length: 1\r\n"),
    "a length with a sign": post(HOST + b"Content-Length: +46\r\n"),
    "a length that is no number": post(HOST + b"Content-Length: x\r\n"),
    "a length beyond all bounds": post(HOST + b"Content-Length: 9999999999999999999999\r\n"),
    "a length and chunks": chunked(b"0\r\n\r\n", more=b"Content-Length: 5\r\n"),
    "an unknown transfer coding": post(HOST + b"Transfer-Encoding: gzip\r\n"),
    "chunks twice": chunked(b"0\r\n\r\n", more=b"Transfer-Encoding: chunked\r\n"),
    "a chunk whose size is no number": chunked(b"x\r\n" + CHUNKS + b"0\r\n\r\n"),
    "a chunk longer than its size": chunked(b"1\r\n{}\r\n0\r\n\r\n"),
    "a space in a header's name": sized(more=b"a b: c\r\n"),
    "a space before the colon": sized(more=b"a : c\r\n"),
    "a NUL in a header": sized(more=b"a: \0\r\n"),
    "a byte in the target that is not ASCII": b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "no target": b"POST HTTP/1.1\r\n" + HOST + b"\r\n",
    "another protocol": b"POST / SPDY/1\r\n" + HOST + b"\r\n",
    "a later version": b"POST / HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a head without an end": b"GET / HTTP/1.1\r\nx" + b"y" * 70_000,
    "headers without an end": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000,
    "a chunk's extension without an end": chunked(b"1;" + b"a" * 70_000),
    "trailers without an end": chunked(b"0\r\n" + b"a: b\r\n" * 10_000),
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
async def test_what_is_not_http_is_refused_and_ends_the_connection(node: Node, sent: bytes) -> None:
    async with await raw(node) as stream:
        await stream.send_all(sent)
        received = await read_all(stream)
    assert received.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
    assert b"connection: close\r\n" in received.lower()
    assert b"result" not in received


TAKEN = {
    "a length": sized(more=CLOSE),
    "chunks": chunked(CHUNKS + b"0\r\n\r\n", more=CLOSE),
    "chunks with extensions and trailers": chunked(
        CHUNKS.replace(b"\r\n", b";a=b\r\n", 1) + b"0\r\nX-Sum: 1\r\n\r\n", more=CLOSE
    ),
    "a trailer that would be an upgrade": chunked(
        CHUNKS + b"0\r\nUpgrade: websocket\r\n\r\n", more=CLOSE
    ),
    "HTTP/1.0": post(b"Content-Length: %d\r\n" % len(ONE), version=b"1.0"),
    "an upgrade to HTTP/2, with a body": sized(
        more=b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n"
    ),
    "any path": sized(more=CLOSE).replace(b" / ", b" /rpc/%20x?key=1 "),
}


@pytest.mark.parametrize("piece", [10_000, 1])
@pytest.mark.parametrize("sent", TAKEN.values(), ids=TAKEN)
async def test_a_request_is_answered_however_it_is_cut(node: Node, sent: bytes, piece: int) -> None:
    async with await raw(node) as stream:
        for start in range(0, len(sent), piece):
            await stream.send_all(sent[start : start + piece])
        received = await read_all(stream)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body) == {"jsonrpc": "2.0", "result": "ok", "id": 1}


async def test_requests_sent_at_once_are_answered_in_their_order(node: Node) -> None:
    sent = b"".join(sized(CALL % number) for number in range(50))
    async with await raw(node) as stream:
        await stream.send_all(sent + b"GET /health HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
        received = await read_all(stream)
    places = [received.index(b'"id":%d}' % number) for number in range(50)]
    assert places == sorted(places)
    assert received.endswith(b"\r\n\r\nok")


async def test_what_came_before_an_invalid_request_is_answered(node: Node) -> None:
    async with await raw(node) as stream:
        await stream.send_all(sized() + b"\x16\x03\x01\r\n\r\n")
        received = await read_all(stream)
    assert received.index(b'"result":"ok"') < received.index(b"HTTP/1.1 400")


async def test_nothing_is_read_after_the_last_request(node: Node) -> None:
    async with await raw(node) as stream:
        await stream.send_all(sized(more=CLOSE) + sized(CALL % 2))
        received = await read_all(stream)
    assert received.count(b"HTTP/1.1 ") == received.count(b'"result":"ok"') == 1


async def test_a_client_that_asks_first_is_told_to_continue_once(node: Node) -> None:
    async with await raw(node) as stream:
        await stream.send_all(chunked(b"", more=CLOSE + b"Expect: 100-continue\r\n"))
        with trio.fail_after(5):
            assert await stream.receive_some(100) == b"HTTP/1.1 100 \r\n\r\n"
        body = b"0" * 200 + CHUNKS + b"0\r\n\r\n"
        for start in range(len(body)):
            await stream.send_all(body[start : start + 1])
        assert (await read_all(stream)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"])
async def test_a_body_that_grows_too_large_is_refused(
    node: Node, monkeypatch: pytest.MonkeyPatch, expects: bytes
) -> None:
    monkeypatch.setattr(request_parser, "MAX_BODY_BYTES", 1000)
    for sent in (
        sized(b"x" * 1001, more=expects),
        chunked(b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\nx\r\n0\r\n\r\n", more=expects),
    ):
        async with await raw(node) as stream:
            await stream.send_all(sent)
            received = await read_all(stream)
        assert b"HTTP/1.1 413" in received
        assert b"result" not in received


async def test_connect_is_no_method_of_a_node(node: Node) -> None:
    async with await raw(node) as stream:
        await stream.send_all(b"CONNECT x:1 HTTP/1.1\r\n" + HOST + b"\r\nabc")
        received = await read_all(stream)
    assert received.startswith(b"HTTP/1.1 405")
    assert received.count(b"HTTP/1.1 ") == 1


async def test_a_connection_that_made_calls_may_become_a_websocket(node: Node) -> None:
    upgrade = (
        b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with await raw(node) as stream:
        await stream.send_all(sized() + upgrade)
        received = b""
        with trio.fail_after(5):
            while b"HTTP/1.1 101 " not in received:
                received += await stream.receive_some(1000)
            await stream.send_all(b"\x89\x82\x00\x00\x00\x00hi")  # a ping with a mask
            while not received.endswith(b"\x8a\x02hi"):
                received += await stream.receive_some(1000)
    assert b'"result":"ok"' in received
