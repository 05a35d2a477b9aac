"""Calls against nodes that misbehave, over real sockets."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.rpc.transport import http_post as post_module
from cvms.chain.rpc.transport.call_state import Call
from cvms.chain.rpc.transport.endpoint_pool import FAILURES_BEFORE_DOWN
from cvms.chain.rpc.transport.failover import FailoverTransport, open_transport
from cvms.errors import ChainTimeout, ChainUnavailable, ConfigurationError, RpcError
from cvms.metrics import Metrics
from tests.chain.rpc.scripted_node import (
    Reply,
    Script,
    ScriptedNode,
    answering,
    in_turn,
    nodes,
    refusing,
    replying,
    result,
    silent,
)

GENEROUS = 10.0  # for what must not time out; nothing waits that long


@asynccontextmanager
async def transport(
    *given: ScriptedNode | str, timeout: float = GENEROUS, metrics: Metrics | None = None
) -> AsyncIterator[FailoverTransport]:
    urls = [each if isinstance(each, str) else each.url for each in given]
    async with open_transport(urls, timeout=timeout, metrics=metrics) as opened:
        yield opened


async def closed_port_url() -> str:
    """Return a loopback URL that refuses connections: its port is bound, but does not listen."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    return f"http://127.0.0.1:{port}"


async def test_a_call_reaches_the_node_and_its_result_comes_back() -> None:
    async with nodes(answering({"a": 1})) as [node], transport(node) as rpc:
        assert await rpc.call("getThing", ["x", 2]) == {"a": 1}
        [request] = node.requests
        assert (request["method"], request["params"]) == ("getThing", ["x", 2])


async def test_a_nodes_error_is_raised_and_no_other_node_is_asked() -> None:
    async with nodes(refusing(-32602), answering(1)) as [first, second]:
        async with transport(first, second) as rpc:
            with pytest.raises(RpcError) as caught:
                await rpc.call("getThing", [])
        assert caught.value.code == -32602
        assert second.requests == []


@pytest.mark.parametrize(
    "bad",
    [
        replying(Reply(b"busy", status=429)),
        replying(Reply(b"oops", status=500)),
        replying(Reply(b"", status=403)),
        replying(Reply(b"", status=301, headers=[("location", "http://127.0.0.1:1/")])),
        replying(Reply(b"not json")),
        replying(Reply(b'{"jsonrpc":"2.0","id":999999,"result":1}')),
        replying(Reply(b"[" * 100_000)),
        replying(Reply(b"not gzip", headers=[("content-encoding", "gzip")])),
        replying(Reply(gzip.compress(b" " * 99)[:-9], headers=[("content-encoding", "gzip")])),
        replying(Reply(b"{}", headers=[("content-encoding", "br")])),
        replying(Reply(cut=True)),
        refusing(-32005),
        refusing(-32016),
    ],
    ids=[
        "429",
        "500",
        "403",
        "redirect",
        "no json",
        "wrong id",
        "deep json",
        "bad gzip",
        "half gzip",
        "brotli",
        "cut",
        "behind",
        "min slot",
    ],
)
async def test_a_read_is_asked_once_more_of_another_endpoint(bad: Script) -> None:
    async with nodes(bad, answering(7)) as [first, second], transport(first, second) as rpc:
        assert await rpc.call("getThing", []) == 7
        assert len(first.requests) == len(second.requests) == 1


async def test_a_silent_endpoint_leaves_half_the_time_for_another() -> None:
    async with nodes(silent, answering(7)) as given, transport(*given, timeout=1.0) as rpc:
        assert await rpc.call("getThing", []) == 7


async def test_a_node_that_never_answers_is_a_timeout_within_the_deadline() -> None:
    async with nodes(silent, silent) as given, transport(*given, timeout=0.2) as rpc:
        began = trio.current_time()
        with pytest.raises(ChainTimeout):
            await rpc.call("getThing", [])
        assert trio.current_time() - began < 2


async def test_refused_connections_are_unavailable() -> None:
    async with transport(await closed_port_url()) as rpc:
        with pytest.raises(ChainUnavailable, match="does not accept"):
            await rpc.call("getThing", [])


async def test_a_send_goes_on_only_when_the_first_endpoint_cannot_have_seen_it() -> None:
    refusing_url = await closed_port_url()
    async with nodes(answering("signature")) as [node], transport(refusing_url, node) as rpc:
        assert await rpc.call("sendTransaction", ["x"], repeatable=False) == "signature"
    for bad in (replying(Reply(b"", status=503)), replying(Reply(cut=True)), refusing(-32005)):
        async with nodes(bad, answering("twice")) as [first, second]:
            async with transport(first, second) as rpc:
                with pytest.raises((ChainUnavailable, RpcError)):
                    await rpc.call("sendTransaction", ["x"], repeatable=False)
            assert len(first.requests) == 1
            assert second.requests == []
    async with nodes(silent, answering("twice")) as [first, second]:
        async with transport(first, second, timeout=0.3) as rpc:
            with pytest.raises(ChainTimeout):
                await rpc.call("sendTransaction", ["x"], repeatable=False)
        assert second.requests == []


async def test_a_dead_kept_alive_connection_does_not_fail_the_call() -> None:
    script = in_turn(answering(1), replying(Reply(cut=True)), answering(3))
    async with nodes(script) as [node], transport(node) as rpc:
        assert await rpc.call("getThing", []) == 1
        assert await rpc.call("getThing", []) == 3


async def test_with_every_endpoint_marked_down_calls_fail_at_once_until_a_probe_succeeds() -> None:
    bad = replying(Reply(b"", status=503))
    script = in_turn(*[bad] * FAILURES_BEFORE_DOWN, bad, answering(42))
    async with nodes(script) as [node], transport(node) as rpc:
        for _ in range(FAILURES_BEFORE_DOWN):
            assert rpc.available
            with pytest.raises(ChainUnavailable, match="HTTP 503"):
                await rpc.call("getThing", [])
        assert not rpc.available
        with pytest.raises(ChainUnavailable, match="marked down"):
            await rpc.call("getThing", [])
        assert len(node.requests) == FAILURES_BEFORE_DOWN
        with pytest.raises(ChainUnavailable, match="HTTP 503"):
            await RpcClient(rpc).probe()
        assert not rpc.available
        assert await RpcClient(rpc).probe() == 42
        assert rpc.available


async def test_a_probe_goes_on_to_the_next_endpoint() -> None:
    bad = replying(Reply(b"", status=500))
    async with nodes(bad, answering(5)) as given, transport(*given) as rpc:
        assert await RpcClient(rpc).probe() == 5


async def test_a_cancelled_call_marks_nothing_down() -> None:
    async with nodes(silent) as [node], transport(node) as rpc:
        for _ in range(FAILURES_BEFORE_DOWN + 1):
            with trio.move_on_after(0.02):
                await rpc.call("getThing", [])
        assert rpc.available


async def test_a_batch_is_sent_in_chunks_and_matched_in_any_order() -> None:
    async def backwards(requests: list[Any]) -> Reply:
        answers = [{"id": each["id"], "result": each["params"][0]} for each in requests]
        return Reply(json.dumps(answers[::-1]).encode())

    async with nodes(backwards) as [node], transport(node) as rpc:
        calls = [Call("get", [number]) for number in range(250)]
        assert await rpc.batch(calls) == list(range(250))
        assert [len(request) for request in node.requests] == [100, 100, 50]
        assert await rpc.batch([]) == []


async def test_one_failed_call_of_a_batch_is_a_value_in_its_place() -> None:
    async def script(requests: list[Any]) -> Reply:
        bad = {"id": requests[0]["id"], "error": {"code": -32009, "message": "skipped"}}
        good = {"id": requests[1]["id"], "result": 2}
        return Reply(json.dumps([good, bad]).encode())

    async with nodes(script) as [node], transport(node) as rpc:
        first, second = await rpc.batch([Call("a", []), Call("b", [])])
        assert isinstance(first, RpcError)
        assert second == 2


async def test_a_batch_without_one_of_its_responses_goes_to_another_endpoint() -> None:
    async def script(requests: list[Any]) -> Reply:
        return Reply(json.dumps([{"id": each["id"], "result": 1} for each in requests]).encode())

    async def forgetful(requests: list[Any]) -> Reply:
        return Reply(json.dumps([{"id": requests[0]["id"], "result": 1}]).encode())

    async with nodes(forgetful, script) as given, transport(*given) as rpc:
        assert await rpc.batch([Call("a", []), Call("b", [])]) == [1, 1]


async def test_a_body_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_module, "MAX_BODY_BYTES", 1_000_000)
    bomb = gzip.compress(b" " * 50_000_000)
    plain = Reply(b" " * 2_000_000)
    for reply in (Reply(bomb, headers=[("content-encoding", "gzip")]), plain):
        async with nodes(replying(reply)) as [node], transport(node) as rpc:
            with pytest.raises(ChainUnavailable, match="more than 1000000 bytes"):
                await rpc.call("getThing", [])


async def test_a_compressed_answer_is_read() -> None:
    async def script(request: Any) -> Reply:
        body = gzip.compress(result(request, "big").body)
        return Reply(body, headers=[("content-encoding", "gzip")])

    async with nodes(script) as [node], transport(node) as rpc:
        assert await rpc.call("getThing", []) == "big"


async def test_keys_in_a_url_reach_the_node_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with nodes(in_turn(answering(1), replying(Reply(b"", status=500)))) as [node]:
        url = f"http://user:pa%3Ass@127.0.0.1:{node.port}/secretpath?api-key=secretkey"
        async with transport(url) as rpc:
            assert await rpc.call("getThing", []) == 1
            with pytest.raises(ChainUnavailable) as caught:
                await rpc.call("getThing", [])
        assert node.targets[0] == "/secretpath?api-key=secretkey"
        assert node.headers[0]["authorization"] == "Basic dXNlcjpwYTpzcw=="
        assert str(node.port) in str(caught.value)
        shown = f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
        assert "secret" not in shown
        assert "dXNlcjpwYTpzcw" not in shown


@pytest.mark.parametrize("url", ["http://", "http://host:port/secret", "http://a\nb/secret"])
async def test_an_invalid_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with transport(url):
            pytest.fail("it opened")
    assert "secret" not in str(caught.value)


async def test_each_call_is_counted_by_method_and_outcome() -> None:
    metrics = Metrics()
    script = in_turn(answering(1), refusing(-1), replying(Reply(b"", status=500)), silent)
    async with nodes(script) as [node], transport(node, timeout=0.3, metrics=metrics) as rpc:
        await rpc.call("getThing", [])
        for outcome in (RpcError, ChainUnavailable, ChainTimeout):
            with pytest.raises(outcome):
                await rpc.call("getThing", [])
    for outcome_name in ("ok", "error", "unavailable", "timeout"):
        labels = {"method": "getThing", "outcome": outcome_name}
        assert metrics.registry.get_sample_value("cvms_rpc_requests_total", labels) == 1
