"""Whatever a client sends gets an answer or a closed connection, never a 500 or a crash."""

from __future__ import annotations

import gzip
import itertools
import random

import trio
from solders.keypair import Keypair

from tests.harness.service import Service

OWNER = str(Keypair().pubkey())
GOOD = {"owner": OWNER, "amount": 1, "nonce": "n" * 32, "signature": "1" * 88}


def raw(amount: str) -> bytes:
    text = f'{{"owner": "{OWNER}", "amount": {amount}, "nonce": "{"n" * 32}", '
    return (text + f'"signature": "{"1" * 88}"}}').encode()


BODIES: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"owner=1",
    "null": b"null",
    "a list": b"[]",
    "a number": b"7",
    "NaN": raw("NaN"),
    "infinity": raw("Infinity"),
    "out of range": raw("1e400"),
    "a float": raw("1.0"),
    "true": raw("true"),
    "zero": raw("0"),
    "negative": raw("-1"),
    "above 2^63 - 1": raw("9223372036854775808"),
    "many digits": raw("9" * 5000),
    "many digits in a string": raw(f'"{"9" * 5000}"'),
    "underscores": raw('"1_000"'),
    "other digits": raw('"٣"'),
    "leading zero": raw('"01"'),
    "spaces": raw('" 1"'),
    "an object": raw('{"$gt": 0}'),
    "a lone surrogate": raw('"\\ud800"'),
    "NUL in the nonce": raw("1").replace(b"n" * 32, b"n" * 31 + b"\\u0000"),
    "newline in the nonce": raw("1").replace(b"n" * 32, b"n" * 31 + b"\\n"),
    "colon in the nonce": raw("1").replace(b"n" * 32, b"n" * 31 + b":"),
    "invalid UTF-8": raw("1").replace(b"nnnn", b"\xff\xfe\xfd\xfc"),
    "deep lists": b"[" * 30_000,
    "deep objects": b'{"owner":' * 5_000,
    "deep in a field": b'{"owner":' + b"[" * 30_000,
    "a key that is no key": raw("1").replace(OWNER.encode(), b"0" * 44),
    "a long key": raw("1").replace(OWNER.encode(), b"z" * 20_000),
    "an unknown field": raw("1").replace(b'"owner"', b'"recipent": "x", "owner"'),
    "a missing field": b"{}",
}
ROUTES = (
    ("POST", "/api/auth/nonce"),
    ("POST", "/api/vault/initialize"),
    ("POST", "/api/vault/deposit"),
    ("POST", "/api/vault/withdraw"),
    ("POST", "/api/vault/delegate/add"),
    ("DELETE", "/api/vault/delegate/remove"),
    ("POST", "/api/transactions"),
)


async def test_a_malformed_body_is_a_400_with_the_path_of_the_error(service: Service) -> None:
    for (method, path), (name, body) in itertools.product(ROUTES, BODIES.items()):
        reply = await service.http.request(
            method,
            service.url + path,
            content=body,
            headers={"Content-Type": "application/json"},
        )
        problem = reply.json()
        assert (reply.status_code, problem["code"]) == (400, "invalid_request"), name
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert problem["errors"][0]["message"], name


async def test_an_invalid_field_is_named_by_its_path(service: Service) -> None:
    reply = await service.post("/api/vault/withdraw", GOOD | {"amount": 0})
    assert reply.json()["errors"] == [
        {
            "path": "amount",
            "message": "Expected a whole number of token units, 1 to 9223372036854775807",
        }
    ]


async def test_random_bytes_are_never_a_500(service: Service) -> None:
    chance = random.Random(20)
    for _ in range(150):
        body = bytearray(raw("1"))
        for _ in range(chance.randint(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        reply = await service.http.post(
            service.url + "/api/vault/withdraw",
            content=bytes(body),
            headers={"Content-Type": "application/json"},
        )
        assert reply.status_code in {400, 401}, (bytes(body), reply.text)


async def test_a_body_that_is_too_large_is_a_413(service: Service) -> None:
    async def endless() -> object:
        for _ in range(40):
            yield b" " * 4096

    for content in (b" " * 100_000, endless()):
        reply = await service.http.post(
            service.url + "/api/auth/nonce",
            content=content,  # type: ignore[arg-type]
            headers={"Content-Type": "application/json"},
        )
        assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


async def test_another_content_type_is_a_415(service: Service) -> None:
    for headers in ({"Content-Type": "text/plain"}, {}):
        reply = await service.http.post(
            service.url + "/api/auth/nonce", content=b"{}", headers=headers
        )
        assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type")


async def test_a_compressed_body_is_a_415(service: Service) -> None:
    for encoding, status in {"gzip": 415, "br, identity": 415, "": 400, "Identity": 400}.items():
        reply = await service.http.post(
            service.url + "/api/auth/nonce",
            content=gzip.compress(b"{}") if status == 415 else b"{}",
            headers={"Content-Type": "application/json", "Content-Encoding": encoding},
        )
        assert reply.status_code == status, encoding


async def test_unknown_paths_and_methods_are_problems_too(service: Service) -> None:
    reply = await service.get("/api/nothing")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    reply = await service.get("/api/vault/deposit")
    assert (reply.status_code, reply.json()["code"]) == (405, "method_not_allowed")
    assert "POST" in reply.headers["Allow"]


MALFORMED_TARGETS = (
    "/api/vault/balance/not-a-key",
    "/api/vault/balance/%00",
    f"/api/vault/transactions/{OWNER}?limit=0",
    f"/api/vault/transactions/{OWNER}?limit=1&limit=2",
    f"/api/vault/transactions/{OWNER}?offset=-1",
    f"/api/vault/transactions/{OWNER}?cursor=99999999999999999999",
    f"/api/vault/transactions/{OWNER}?cursor=5&offset=5",
    f"/api/vault/transactions/{OWNER}?kind='; DROP TABLE vaults",
    f"/api/vault/transactions/{OWNER}?kind=%00",
    f"/api/vault/transactions/{OWNER}?colour=red",
    "/api/transactions/%F0%9F%92%A9",
)


async def test_malformed_paths_and_queries_are_400(service: Service) -> None:
    for path in MALFORMED_TARGETS:
        reply = await service.get(path)
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), path


RAW_REQUESTS: dict[str, bytes] = {
    "a header that is not ASCII in an upgrade": (
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade, \xff\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ),
    "a subprotocol that is not ASCII": (
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Protocol: \xff\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ),
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2 by upgrade": (
        b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    ),
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "an odd host": b"GET /health HTTP/1.1\r\nHost: \xff:x:99999/\\\r\n\r\n",
    "an absolute target": b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an empty path": b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown method": b"FROB /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "a huge head": b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
    "two lengths": (
        b"POST /api/auth/nonce HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
        b"Content-Length: 3\r\n\r\n{}"
    ),
    "a length that is no number": (
        b"POST /api/auth/nonce HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}"
    ),
    "a bad chunk": (
        b"POST /api/auth/nonce HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"
    ),
    "a path that is not UTF-8": b"GET /api/vault/balance/%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    "a content type that is no type": (
        b"POST /api/auth/nonce HTTP/1.1\r\nHost: x\r\nContent-Type: ;;=\xff\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    ),
}


async def test_invalid_bytes_end_at_most_their_own_connection(service: Service) -> None:
    for name, request in RAW_REQUESTS.items():
        answer = await _exchange(service.port, request)
        assert b" 500 " not in answer.partition(b"\r\n")[0], name
        assert (await service.get("/health")).status_code == 200, name


async def test_a_body_that_never_arrives_ends_with_its_connection(service: Service) -> None:
    head = (
        b"POST /api/auth/nonce HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )
    stream = await trio.open_tcp_stream("127.0.0.1", service.port)
    await stream.send_all(head)
    await stream.aclose()
    assert (await service.get("/health")).status_code == 200


async def _exchange(port: int, request_bytes: bytes) -> bytes:
    answer = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with trio.fail_after(5):
            await stream.send_all(request_bytes)
            await stream.send_eof()
            try:
                async for chunk in stream:
                    answer += chunk
            except trio.BrokenResourceError:
                pass
    return answer
