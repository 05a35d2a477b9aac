"""Providers that refuse a method, a batch or the question, over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.rpc.transport.call_state import Call
from cvms.chain.rpc.transport.endpoint_state import summary
from cvms.chain.rpc.transport.request_sender import MAX_MESSAGE_LENGTH, MAX_WORDS
from cvms.chain.types import Commitment
from cvms.errors import ChainUnavailable, RpcError
from tests.chain.rpc.scripted_node import (
    FakeChain,
    Reply,
    Script,
    ScriptedNode,
    answering,
    error,
    nodes,
    refusing,
    replying,
    result,
)

KEY = "0123456789abcdef-the-key"
ACCOUNT = Pubkey.new_unique()


@asynccontextmanager
async def asked(*scripts: Script) -> AsyncIterator[tuple[RpcClient, list[ScriptedNode]]]:
    async with nodes(*scripts) as started:
        urls = [f"{node.url}/v2/{KEY}" for node in started]
        async with open_rpc(urls, timeout=10.0) as rpc:
            yield rpc, started


def refuses(method: str, reply: Reply | int, chain: Script) -> Script:
    """Return a script that refuses one method and serves the others."""

    async def script(request: Any) -> Reply:
        if request["method"] != method:
            return await chain(request)
        return reply if isinstance(reply, Reply) else error(request, reply)

    return script


@pytest.mark.parametrize("code", [-32603, -32601, -32000, -32012, -32019, -32600, -32010, -5])
async def test_an_error_that_is_no_answer_goes_to_the_next_endpoint(code: int) -> None:
    async with asked(refusing(code), answering(7)) as (rpc, [first, second]):
        assert await rpc.call("getThing", []) == 7
        assert await rpc.call("getThing", []) == 7
        assert len(first.requests) == 1, "it counts against the endpoint, for that method"
        assert len(second.requests) == 2


@pytest.mark.parametrize("code", [-32602, -32002, -32003, -32015])
async def test_a_refusal_of_the_question_is_an_answer(code: int) -> None:
    async with asked(refusing(code), answering(7)) as (rpc, [_, second]):
        with pytest.raises(RpcError) as caught:
            await rpc.call("getThing", [])
        assert caught.value.code == code
        assert second.requests == []


async def test_the_error_of_the_first_is_raised_if_no_endpoint_does_better() -> None:
    async with asked(refusing(-32012), refusing(-32601)) as (rpc, _):
        with pytest.raises(RpcError) as caught:
            await rpc.call("getThing", [])
        assert caught.value.code == -32012


@pytest.mark.parametrize(
    "refusal",
    [Reply(b"", status=403), Reply(b"", status=410), Reply(b"", status=405), -32601, -32000],
    ids=["403", "410", "405", "-32601", "-32000"],
)
async def test_an_endpoint_that_refuses_one_method_serves_all_others(refusal: Reply | int) -> None:
    chain = FakeChain()
    first = refuses("getThing", refusal, chain)
    async with asked(first, chain) as (rpc, [node, _]):
        await rpc.probe()
        for _ in range(5):
            assert (await rpc.call("getThing", []))["value"] == chain.slot
            assert await rpc.get_balance(ACCOUNT) == chain.slot
        methods = [request["method"] for request in node.requests]
        assert methods.count("getThing") == 1
        assert methods.count("getBalance") == 5
        assert "does not serve getThing" in summary(rpc.endpoints)
    async with asked(first) as (rpc, _):
        for _ in range(5):
            with pytest.raises((ChainUnavailable, RpcError)):
                await rpc.call("getThing", [])
        assert await rpc.get_balance(ACCOUNT) == chain.slot, "it is not marked down"


@pytest.mark.parametrize("refusal", [Reply(b"", status=403), -32601], ids=["403", "-32601"])
async def test_an_endpoint_that_does_not_tell_its_genesis_is_preferred_all_the_same(
    refusal: Reply | int,
) -> None:
    chain = FakeChain()
    async with asked(refuses("getGenesisHash", refusal, chain), chain) as (rpc, [first, _]):
        await rpc.probe()
        first.requests.clear()
        assert await rpc.get_balance(ACCOUNT) == chain.slot
        assert [each["method"] for each in first.requests] == ["getBalance"]


async def test_an_endpoint_that_refuses_its_slot_is_marked_down() -> None:
    async with asked(replying(Reply(b"", status=403))) as (rpc, _):
        for _ in range(3):
            with pytest.raises(ChainUnavailable):
                await rpc.probe()
        assert not rpc.available


async def test_a_null_where_the_list_named_the_transaction_is_asked_of_another() -> None:
    record = {
        "slot": 5,
        "blockTime": 1_750_000_000_000,
        "meta": {"err": None, "fee": 5000},
        "transaction": {
            "signatures": ["s"],
            "message": {"accountKeys": [str(ACCOUNT)], "instructions": []},
        },
    }
    without_meta = record | {"meta": None}
    for first in (answering(None), answering(without_meta), answering(record | {"slot": "x"})):
        async with asked(first, answering(record)) as (rpc, _):
            [found] = await rpc.get_transactions(["s"], commitment=Commitment.CONFIRMED)
            assert found is not None
            assert found.slot == 5
            assert found.block_time == 1_750_000_000, "the provider sends milliseconds"
    async with asked(answering(None), answering(None)) as (rpc, _):
        assert await rpc.get_transactions(["s"], commitment=Commitment.CONFIRMED) == [None]
    async with asked(answering(without_meta), answering(None)) as (rpc, _):
        assert await rpc.get_transactions(["s"], commitment=Commitment.CONFIRMED) == [None]


async def test_a_failure_is_not_read_as_a_success_because_a_provider_leaves_it_out() -> None:
    status = {"slot": 5, "confirmations": None, "confirmationStatus": "finalized"}
    without = {"context": {"slot": 9}, "value": [status]}
    failed = {"context": {"slot": 9}, "value": [status | {"err": "boom"}]}
    async with asked(answering(without), answering(failed)) as (rpc, _):
        [found] = await rpc.get_signature_statuses(["s"])
        assert found is not None
        assert found.err == "boom"
    listed = {"signature": "s", "slot": 5, "blockTime": None}
    async with asked(answering([listed]), answering([listed | {"err": "boom"}])) as (rpc, _):
        [info] = await rpc.get_signatures_for_address(
            ACCOUNT, commitment=Commitment.CONFIRMED, limit=10
        )
        assert info.err == "boom"


async def test_only_what_is_missing_is_asked_of_the_next_endpoint() -> None:
    async def every_second(request: Any) -> Reply:
        answers = [
            {"id": each["id"], "result": None if n % 2 else each["params"][0]}
            for n, each in enumerate(request)
        ]
        return Reply(json.dumps(answers).encode())

    async def all_of_them(request: Any) -> Reply:
        return Reply(
            json.dumps(
                [{"id": each["id"], "result": each["params"][0]} for each in request]
            ).encode()
        )

    async with asked(every_second, all_of_them) as (rpc, [_, second]):
        calls = [Call("get", [number], may_lack=True) for number in range(6)]
        assert await rpc.batch(calls) == list(range(6))
        assert [[each["params"][0] for each in request] for request in second.requests] == [
            [1, 3, 5]
        ]


async def test_an_empty_list_counts_only_if_no_endpoint_has_more() -> None:
    listed = [{"signature": "s", "slot": 5, "err": None, "blockTime": 10**18}]
    for scripts in ((answering([]), answering(listed)), (answering(listed), answering([]))):
        async with asked(*scripts) as (rpc, _):
            [info] = await rpc.get_signatures_for_address(
                ACCOUNT, commitment=Commitment.CONFIRMED, limit=10
            )
            assert (info.signature, info.block_time) == ("s", None)
    async with asked(answering([]), answering([])) as (rpc, _):
        level = Commitment.CONFIRMED
        assert await rpc.get_signatures_for_address(ACCOUNT, commitment=level, limit=10) == []


# --- batches -----------------------------------------------------------------------------------


def one_object(code: int, message: str) -> Reply:
    return Reply(json.dumps({"id": None, "error": {"code": code, "message": message}}).encode())


BATCH_REFUSALS = {
    "403": Reply(b'{"error":"batch requests need a paid plan"}', status=403),
    "400": Reply(b"<html><h1>Bad Request</h1></html>", status=400),
    "413": Reply(b"", status=413),
    "429": Reply(b"batch not allowed", status=429),
    "500": Reply(b"", status=500),
    "-32403": one_object(-32403, "Forbidden"),
    "-32600": one_object(-32600, "Batch requests are not supported"),
    "7701": one_object(7701, "no"),
    "-32000": one_object(-32000, "no batches"),
}


@pytest.mark.parametrize("refusal", BATCH_REFUSALS.values(), ids=BATCH_REFUSALS)
async def test_an_endpoint_that_takes_no_batches_is_asked_one_by_one(refusal: Reply) -> None:
    async def script(request: Any) -> Reply:
        return refusal if isinstance(request, list) else result(request, request["params"][0])

    async with asked(script) as (rpc, [node]):
        calls = [Call("get", [number]) for number in range(30)]
        assert await rpc.batch(calls) == list(range(30))
        node.requests.clear()
        assert await rpc.batch(calls) == list(range(30))
        assert not any(isinstance(each, list) for each in node.requests), "it is remembered"


async def test_a_batch_is_throttled_only_so_often_before_it_goes_one_by_one() -> None:
    async def script(request: Any) -> Reply:
        if isinstance(request, list):
            return Reply(b"", status=429)
        return result(request, request["params"][0])

    async with asked(script) as (rpc, [node]):
        assert await rpc.batch([Call("get", [n]) for n in range(30)]) == list(range(30))
        assert sum(isinstance(each, list) for each in node.requests) <= 5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            b'{"jsonrpc":"2.0","error":{"code":-32052,"message":"API key is not allowed"}}',
            "API key",
        ),
        (b'{"message":"no credits"}', "no credits"),
        (b"<html><style>a{}</style><b>Access</b> denied</html>", "Access denied"),
        (b'["' + b"x" * 10_000, "HTTP 403"),
        (b"\xff\xfe\x00", "HTTP 403"),
    ],
)
async def test_the_providers_own_words_are_in_the_reason(body: bytes, words: str) -> None:
    async with asked(replying(Reply(body, status=403))) as (rpc, _):
        with pytest.raises(ChainUnavailable, match=words):
            await rpc.call("getThing", [])


async def test_the_key_in_a_url_is_not_in_the_providers_words() -> None:
    body = json.dumps({"error": f"the key {KEY} is not allowed to call /v2/{KEY}"}).encode()
    for script in (
        replying(Reply(body, status=403)),
        lambda request: _error(request, f"unknown key {KEY}"),
    ):
        async with asked(script) as (rpc, _):
            with pytest.raises((ChainUnavailable, RpcError)) as caught:
                await rpc.call("getThing", [])
            assert KEY not in str(caught.value)
            assert "…" in str(caught.value)
            assert KEY not in summary(rpc.endpoints)


@pytest.mark.parametrize("length", [MAX_WORDS, MAX_MESSAGE_LENGTH])
@pytest.mark.parametrize("kept", [2, 12, len(KEY) - 1])
async def test_a_key_that_shortening_would_cut_is_not_shown_in_part(length: int, kept: int) -> None:
    words = f"{'x' * (length - kept - 1)} {KEY} is not allowed"
    for script in (
        replying(Reply(words.encode(), status=403)),
        lambda request: _error(request, words),
    ):
        async with asked(script) as (rpc, _):
            with pytest.raises((ChainUnavailable, RpcError)) as caught:
                await rpc.call("getThing", [])
            assert f" {KEY[0]}" not in str(caught.value)
            assert KEY[:6] not in summary(rpc.endpoints)
            assert len(str(caught.value)) < MAX_MESSAGE_LENGTH + 50, "it is still shortened"


async def _error(request: Any, message: str) -> Reply:
    return error(request, -32000, message)
