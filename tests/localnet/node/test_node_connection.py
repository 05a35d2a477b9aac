"""The HTTP port: JSON-RPC, CORS, limits, misbehaving clients."""

from __future__ import annotations

import json
import os
from functools import partial

import pytest
import trio

from cvms import localnet
from cvms.errors import ConfigurationError
from cvms.localnet import http_port
from cvms.localnet.node import node_connection, request_parser
from tests.localnet.local_node import Node


async def post(node: Node, body: bytes) -> object:
    response = await node.http.post(node.running.rpc_url, content=body)
    assert response.status_code == 200
    return response.json()


def call(method: str, identifier: object = 1, **fields: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": identifier, "method": method} | fields


async def test_a_batch_is_answered_call_by_call_in_order(node: Node) -> None:
    batch = [call("getSlot", 1), call("nope", "two"), {"x": 1}, call("getHealth", None)]
    replies = await post(node, json.dumps(batch).encode())
    assert isinstance(replies, list)
    assert [reply["id"] for reply in replies] == [1, "two", None, None]
    codes = [reply.get("error", {}).get("code") for reply in replies]
    assert codes == [None, -32601, -32600, None]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"\xff\xfe\x00", -32700),
        (b"[" * 100_000, -32700),
        (b"[1]", -32700),
        (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"getSlot"}', -32700),
        ('{"jsonrpc":"2.0","id":1,"method":"getSlot"}'.encode("utf-16"), -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBlock","params":[1e400]}', -32700),
        (b'{"jsonrpc":"2.0","id":"\\ud83d","method":"getSlot"}', -32700),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"getSlot"}', -32700),
        (b"5", -32700),
        (b'{"id":1,"method":"getSlot"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"getSlot","also":1}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"getSlot"}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":{"a":1}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"getSlots"}', -32601),
    ],
)
async def test_an_invalid_request_gets_its_json_rpc_error(
    node: Node, body: bytes, code: int
) -> None:
    reply = await post(node, body)
    assert isinstance(reply, dict)
    assert reply["error"]["code"] == code


async def test_text_is_returned_in_utf8_as_by_a_validator(node: Node) -> None:
    body = json.dumps(call("getHealth", "\u00e9\U0001f600")).encode()
    response = await node.http.post(node.running.rpc_url, content=body)
    expected = '{"jsonrpc":"2.0","result":"ok","id":"\u00e9\U0001f600"}\n'
    assert response.content == expected.encode()


async def test_an_empty_batch_has_no_reply(node: Node) -> None:
    response = await node.http.post(node.running.rpc_url, content=b"[]")
    assert (response.status_code, response.content) == (200, b"")


async def test_a_notification_has_no_reply(node: Node) -> None:
    response = await node.http.post(
        node.running.rpc_url, json={"jsonrpc": "2.0", "method": "getSlot"}
    )
    assert (response.status_code, response.content) == (200, b"")


async def test_health_is_a_plain_ok(node: Node) -> None:
    response = await node.http.get(node.running.rpc_url + "/health")
    assert (response.status_code, response.text) == (200, "ok")
    assert (await node.http.get(node.running.rpc_url + "/")).status_code == 405


async def test_wallets_in_browsers_may_call_from_any_page(node: Node) -> None:
    asked = {
        "origin": "https://wallet.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,solana-client",
    }
    allowed = await node.http.options(node.running.rpc_url, headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "*"
    assert "solana-client" in allowed.headers["access-control-allow-headers"]
    reply = await node.http.post(node.running.rpc_url, json=call("getSlot"))
    assert reply.headers["access-control-allow-origin"] == "*"


async def test_one_connection_serves_many_calls(node: Node) -> None:
    async with await raw(node) as stream:
        body = json.dumps(call("getSlot")).encode()
        for _ in range(3):
            await stream.send_all(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            received = b""
            with trio.fail_after(5):
                while b'"result":' not in received:
                    received += await stream.receive_some(4096)


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(node: Node) -> None:
    async with await raw(node) as stream:
        size = request_parser.MAX_BODY_BYTES + 1
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        assert (await read_all(stream)).startswith(b"HTTP/1.1 413")


async def test_bytes_that_are_not_http_are_refused(node: Node) -> None:
    for junk in (b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/1.1\r\nx" + b"y" * 70_000):
        async with await raw(node) as stream:
            await stream.send_all(junk)
            assert (await read_all(stream)).startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert await node.call("getHealth") == "ok"


async def test_an_idle_client_is_disconnected(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_connection, "IDLE_SECONDS", 0.05)
    async with await raw(node) as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        assert await read_all(stream) == b""


async def test_a_client_that_does_not_finish_its_body_is_disconnected(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_connection, "TRANSFER_SECONDS", 0.05)
    async with await raw(node) as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        assert await read_all(stream) == b""


async def test_a_client_that_does_not_read_its_replies_is_disconnected(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_connection, "TRANSFER_SECONDS", 0.05)
    body = json.dumps(call("getVoteAccounts")).encode()
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with await raw(node) as stream:
        with trio.fail_after(20), pytest.raises(trio.BrokenResourceError):
            await send_forever(stream, request * 100)


async def test_a_vanished_client_does_not_affect_others(node: Node) -> None:
    for part in (b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12"):
        stream = await raw(node)
        await stream.send_all(part)
        await trio.aclose_forcefully(stream)
    assert await node.call("getHealth") == "ok"


async def test_connections_over_the_limit_are_closed_at_once(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.call("getHealth")  # uses the only connection
    monkeypatch.setattr(http_port, "MAX_CONNECTIONS", 2)
    async with await raw(node) as allowed, await raw(node) as refused:
        assert await read_all(refused) == b""
        await allowed.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await read_all(allowed)).endswith(b"ok")


async def test_an_exception_in_one_call_is_an_internal_error_of_that_call_only(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise ValueError("broken")

    monkeypatch.setattr(node.running.chain.vm, "rent_exempt", broken)
    reply = await node.reply("getMinimumBalanceForRentExemption", 5)
    assert reply["error"] == {"code": -32603, "message": "Internal error"}
    assert await node.call("getHealth") == "ok"


def own_ports() -> int:
    """The first of three ports that this process has to itself: the system hands out none of them,
    and each process of the tests takes others.
    """
    return 20_000 + 3 * (os.getpid() % 3_000)


async def test_a_port_in_use_is_named(nursery: trio.Nursery) -> None:
    port = own_ports() + 1
    await nursery.start(partial(localnet.serve, port=port, ledger=None))
    with trio.fail_after(5):
        for taken in (port, port - 1):  # the RPC port, the PubSub port
            with pytest.raises(ConfigurationError, match=f":{port}: "):
                await localnet.serve(port=taken, ledger=None)


async def test_pubsub_is_on_the_next_port(nursery: trio.Nursery) -> None:
    port = own_ports()
    running: localnet.Running = await nursery.start(partial(localnet.serve, port=port, ledger=None))
    assert running.rpc_url == f"http://127.0.0.1:{port}"
    assert running.ws_url == f"ws://127.0.0.1:{port + 1}"


async def send_forever(stream: trio.SocketStream, data: bytes) -> None:
    while True:
        await stream.send_all(data)


async def raw(node: Node) -> trio.SocketStream:
    port = int(node.running.rpc_url.rsplit(":", 1)[1])
    return await trio.open_tcp_stream("127.0.0.1", port)


async def read_all(stream: trio.SocketStream) -> bytes:
    """Everything until the other side closes."""
    received = b""
    with trio.fail_after(5):
        try:
            async for part in stream:
                received += part
        except trio.BrokenResourceError:
            return received
    return received
