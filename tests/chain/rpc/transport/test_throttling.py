"""Nodes that throttle, or refuse large batches, over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from cvms.chain.rpc.transport.adaptive_rate import FIRST_PAUSE_SECONDS
from cvms.chain.rpc.transport.call_state import Call
from cvms.chain.rpc.transport.failover import FailoverTransport, open_transport
from cvms.errors import ChainUnavailable, RpcError
from cvms.metrics import Metrics
from tests.chain.rpc.scripted_node import (
    Reply,
    Script,
    ScriptedNode,
    answering,
    error,
    in_turn,
    nodes,
    replying,
    result,
)

GENEROUS = 10.0
TOO_MANY = replying(Reply(b"slow down", status=429))


@asynccontextmanager
async def asked(
    *scripts: Script, timeout: float = GENEROUS, metrics: Metrics | None = None
) -> AsyncIterator[tuple[FailoverTransport, list[ScriptedNode]]]:
    async with nodes(*scripts) as started:
        urls = [node.url for node in started]
        async with open_transport(urls, timeout=timeout, metrics=metrics) as transport:
            yield transport, started


def fails(code: int, message: str) -> Script:
    async def script(request: Any) -> Reply:
        return error(request, code, message)

    return script


async def echo(request: Any) -> Reply:
    if isinstance(request, list):
        answers = [{"id": each["id"], "result": each["params"][0]} for each in request]
        return Reply(json.dumps(answers).encode())
    return result(request, request["params"][0])


def numbered(count: int) -> list[Call]:
    return [Call("get", [number]) for number in range(count)]


class Meter:
    """A node that accepts so many calls at once and so many a second, and throttles the rest."""

    def __init__(self, *, burst: float, rate: float) -> None:
        self.burst, self.rate = burst, rate
        self.left, self.at = burst, trio.current_time()
        self.refusals = 0

    async def __call__(self, request: Any) -> Reply:
        now = trio.current_time()
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        calls = len(request) if isinstance(request, list) else 1
        if calls > self.left:
            self.refusals += 1
            return Reply(b"", status=429)
        self.left -= calls
        return await echo(request)


@pytest.mark.parametrize(
    "refusal",
    [
        TOO_MANY,
        fails(-32429, "rate limited"),
        fails(-32005, "Too many requests"),
        fails(429, "no"),
    ],
    ids=["429", "-32429", "-32005", "code 429"],
)
async def test_a_single_endpoint_is_used_again_after_its_pause(refusal: Script) -> None:
    metrics = Metrics()
    async with asked(in_turn(refusal, answering(7)), metrics=metrics) as (rpc, [node]):
        began = trio.current_time()
        assert await rpc.call("getThing", []) == 7
        assert trio.current_time() - began >= FIRST_PAUSE_SECONDS / 2
        assert len(node.requests) == 2
        [endpoint] = rpc.pool.all()
        assert endpoint.failures == 0  # it is not ill
        labels = {"endpoint": endpoint.host, "outcome": "throttled"}
        assert metrics.registry.get_sample_value("cvms_rpc_endpoint_requests_total", labels) == 1


async def test_a_send_that_was_refused_for_its_rate_is_sent_after_all() -> None:
    async with asked(in_turn(TOO_MANY, answering("signature"))) as (rpc, _):
        assert await rpc.call("sendTransaction", ["x"], repeatable=False) == "signature"


async def test_another_endpoint_is_used_while_one_throttles() -> None:
    away = replying(Reply(b"", status=429, headers=[("retry-after", "30")]))
    async with asked(away, answering(7)) as (rpc, [first, second]):
        began = trio.current_time()
        for _ in range(5):
            assert await rpc.call("getThing", []) == 7
        assert trio.current_time() - began < 5
        assert (len(first.requests), len(second.requests)) == (1, 5)
        assert rpc.available


async def test_a_pause_beyond_the_deadline_fails_at_once_without_a_request() -> None:
    away = replying(Reply(b"", status=429, headers=[("retry-after", "30")]))
    async with asked(away) as (rpc, [node]):
        for _ in range(3):
            with pytest.raises(ChainUnavailable, match="too often"):
                await rpc.call("getThing", [])
        assert len(node.requests) == 1


async def test_an_endpoint_that_keeps_throttling_is_not_called_beyond_the_deadline() -> None:
    async with asked(TOO_MANY, timeout=1.0) as (rpc, [node]):
        began = trio.current_time()
        with pytest.raises(ChainUnavailable, match="too often"):
            await rpc.call("getThing", [])
        assert trio.current_time() - began < 3
        assert 2 <= len(node.requests) <= 5


async def test_many_callers_at_once_are_paced_and_all_answered() -> None:
    meter = Meter(burst=10, rate=100)
    async with asked(meter) as (rpc, [node]):
        got: list[int] = []

        async def one(number: int) -> None:
            got.append(await rpc.call("get", [number]))

        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(one, number)
        assert sorted(got) == list(range(60))
        assert len(node.requests) < 3 * 60


async def test_a_refused_batch_comes_back_in_smaller_parts_and_more_slowly() -> None:
    meter = Meter(burst=60, rate=150)
    async with asked(meter) as (rpc, [node]):
        assert await rpc.batch(numbered(150)) == list(range(150))
        sizes = [len(each) if isinstance(each, list) else 1 for each in node.requests]
        assert sizes[0] == 100
        assert sizes[1] <= 50
        assert max(sizes[1:]) <= 60
        assert meter.refusals <= 3


async def test_only_the_throttled_calls_of_a_batch_are_repeated() -> None:
    async def half(request: Any) -> Reply:
        refused = {"code": -32429, "message": "rate limited"}
        answers = [
            {"id": each["id"], "error": refused}
            if each["params"][0] % 2
            else {"id": each["id"], "result": each["params"][0]}
            for each in request
        ]
        return Reply(json.dumps(answers).encode())

    async with asked(in_turn(half, echo)) as (rpc, [node]):
        assert await rpc.batch(numbered(10)) == list(range(10))
        again = [each["params"][0] for request in node.requests[1:] for each in request]
        assert again == [1, 3, 5, 7, 9]


async def test_a_batch_that_is_always_refused_fails_in_the_end() -> None:
    async def one_of_ten(request: Any) -> Reply:
        calls = request if isinstance(request, list) else [request]
        refused = {"code": -32429, "message": "rate limited"}
        answers = [
            {"id": each["id"], "result": each["params"][0]}
            if each["params"][0] == 0
            else {"id": each["id"], "error": refused}
            for each in calls
        ]
        return Reply(json.dumps(answers if isinstance(request, list) else answers[0]).encode())

    async with asked(one_of_ten, timeout=0.5) as (rpc, _):
        began = trio.current_time()
        with pytest.raises(ChainUnavailable, match="too often"):
            await rpc.batch(numbered(10))
        assert trio.current_time() - began < 5


def at_most(limit: int, *, refusal: Reply | None = None) -> Script:
    async def script(request: Any) -> Reply:
        if isinstance(request, list) and len(request) > limit:
            body = {"code": -32600, "message": f"Batch size is limited to {limit}"}
            return refusal or Reply(json.dumps({"id": None, "error": body}).encode())
        return await echo(request)

    return script


@pytest.mark.parametrize("limit", [0, 1, 7, 40])
@pytest.mark.parametrize("refusal", [None, Reply(b"", status=413)], ids=["-32600", "413"])
async def test_a_batch_is_split_until_the_endpoint_accepts_it_and_the_size_is_remembered(
    limit: int, refusal: Reply | None
) -> None:
    async with asked(at_most(limit, refusal=refusal)) as (rpc, [node]):
        assert await rpc.batch(numbered(100)) == list(range(100))
        assert rpc.pool.all()[0].failures == 0
        node.requests.clear()
        assert await rpc.batch(numbered(100)) == list(range(100))
        assert all(len(each) <= max(limit, 1) for each in node.requests if isinstance(each, list))


async def test_a_batch_for_another_endpoint_is_cut_to_what_that_one_takes() -> None:
    async with asked(echo, at_most(10)) as (rpc, [first, second]):
        rpc.pool.limit_batch(rpc.pool.all()[1], 10)
        first.script = replying(Reply(b"", status=500))
        assert await rpc.batch(numbered(100)) == list(range(100))
        assert max(len(each) for each in second.requests if isinstance(each, list)) == 10


async def test_a_single_call_that_is_too_large_is_no_reason_to_split() -> None:
    async with asked(replying(Reply(b"", status=413))) as (rpc, _):
        with pytest.raises(ChainUnavailable, match="HTTP 413"):
            await rpc.batch(numbered(1))
    async with asked(fails(-32600, "Batch size")) as (rpc, _):
        [answer] = await rpc.batch(numbered(1))
        assert isinstance(answer, RpcError)


async def test_a_cancelled_wait_returns_its_reservation(mock_clock: MockClock) -> None:
    async with asked(in_turn(TOO_MANY, answering(7))) as (rpc, [_]):
        [endpoint] = rpc.pool.all()
        endpoint.rate_limiter.refused(began=trio.current_time())
        wait = endpoint.rate_limiter.wait()
        for _ in range(50):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rpc.call, "getThing", [])
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert endpoint.rate_limiter.wait() == pytest.approx(wait)
