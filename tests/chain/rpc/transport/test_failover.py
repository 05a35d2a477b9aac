"""Failover between several nodes, over real sockets."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from solders.pubkey import Pubkey

from cvms.chain.rpc.chain_identity import FINALIZED_LAG_SLOTS
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.rpc.transport.endpoint_pool import FAILURES_BEFORE_DOWN
from cvms.chain.rpc.transport.endpoint_state import summary
from cvms.chain.types import Commitment, Slot
from cvms.errors import ChainTimeout, ChainUnavailable, RpcError
from cvms.metrics import Metrics
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
    silent,
)

GENEROUS = 10.0
OTHER_BLOCK = "1" * 31 + "C"
CONFIRMED = Commitment.CONFIRMED
ACCOUNT = Pubkey.new_unique()
STATUS = {"slot": 7, "confirmations": 3, "err": None, "confirmationStatus": "confirmed"}


@asynccontextmanager
async def asked(
    *scripts: Script, timeout: float = GENEROUS, metrics: Metrics | None = None
) -> AsyncIterator[tuple[RpcClient, list[ScriptedNode]]]:
    async with nodes(*scripts) as started:
        urls = [f"{node.url}/secret" for node in started]
        async with open_rpc(urls, timeout=timeout, metrics=metrics) as rpc:
            yield rpc, started


def methods(node: ScriptedNode) -> list[str]:
    return [request["method"] for request in node.requests]


async def test_another_endpoint_is_used_while_the_first_is_far_behind() -> None:
    first, second = FakeChain(slot=1000), FakeChain(slot=1008)
    async with asked(first, second) as (rpc, _):
        await rpc.probe()
        assert await rpc.get_balance(ACCOUNT) == 1000
        second.slot = 1040
        assert await rpc.probe() == 1040
        await rpc.probe()
        assert await rpc.get_balance(ACCOUNT) == 1040
        first.slot = 1039
        await rpc.probe()
        assert await rpc.get_balance(ACCOUNT) == 1039


async def test_a_call_that_needs_a_slot_goes_to_an_endpoint_known_to_be_there() -> None:
    first, second = FakeChain(slot=1000), FakeChain(slot=1005)
    async with asked(first, second) as (rpc, [node, _]):
        await rpc.probe()
        answer = await rpc.call("getThing", [{"minContextSlot": 1004}])
        assert answer["value"] == 1005
        assert "getThing" not in methods(node)


async def test_a_response_of_a_node_that_is_behind_counts_if_no_other_is_better() -> None:
    async def behind(request: Any) -> Reply:
        return error(request, -32016, "Minimum context slot", {"contextSlot": 990})

    for other in (replying(Reply(b"", status=500)), behind):
        async with asked(behind, other) as (rpc, [_, second]):
            with pytest.raises(RpcError) as caught:
                await rpc.call("getThing", [{"minContextSlot": 1000}])
            assert caught.value.code == -32016
            assert rpc.endpoints[0].slot == 990
            assert len(second.requests) == 1


async def test_a_third_endpoint_answers_when_two_fail_within_one_deadline() -> None:
    async with asked(silent, replying(Reply(cut=True)), answering(3), timeout=1.5) as (rpc, _):
        began = trio.current_time()
        assert await rpc.call("getThing", []) == 3
        assert trio.current_time() - began < 1.5


async def test_a_cancelled_trial_leaves_the_endpoint_to_the_next_caller() -> None:
    state = FakeChain(away=Reply(b"", status=503))
    async with asked(state) as (rpc, [node]):
        for _ in range(FAILURES_BEFORE_DOWN):
            with pytest.raises(ChainUnavailable):
                await rpc.get_balance(ACCOUNT)
        [endpoint] = rpc._transport.pool.all()
        endpoint.down_until = 0.0  # its pause is over
        node.script = silent
        with trio.move_on_after(0.05):
            await rpc.get_balance(ACCOUNT)
        node.script, state.away = state, None
        assert await rpc.get_balance(ACCOUNT) == state.slot


async def test_a_probe_asks_all_at_once_and_shows_each_by_its_host_only() -> None:
    metrics = Metrics()
    scripts = (FakeChain(slot=1000), replying(Reply(b"", status=500)), FakeChain(slot=1003))
    async with asked(*scripts, metrics=metrics) as (rpc, started):
        for _ in range(FAILURES_BEFORE_DOWN):
            assert await rpc.probe() == 1003
        hosts = [f"127.0.0.1:{node.port}" for node in started]
        assert [each.host for each in rpc.endpoints] == hosts
        assert [each.up for each in rpc.endpoints] == [True, False, True]
        shown = f"{rpc.endpoints} {summary(rpc.endpoints)}"
        assert "HTTP 500" in shown
        assert "secret" not in shown

        def value(name: str, host: str, **labels: str) -> float | None:
            return metrics.registry.get_sample_value(name, {"endpoint": host, **labels})

        assert [value("cvms_rpc_endpoint_up", host) for host in hosts] == [1, 0, 1]
        assert [value("cvms_rpc_endpoint_slot", host) for host in hosts] == [1000, 0, 1003]
        assert 0 < (value("cvms_rpc_endpoint_latency_seconds", hosts[0]) or 0) < GENEROUS
        refused = value("cvms_rpc_endpoint_requests_total", hosts[1], outcome="unavailable")
        assert refused is not None
        assert refused >= FAILURES_BEFORE_DOWN
        for host in hosts:  # also where it fails
            timed = value("cvms_rpc_request_duration_seconds_count", host, method="getSlot")
            assert timed == FAILURES_BEFORE_DOWN


async def test_probes_compare_the_blocks_as_soon_as_two_are_there() -> None:
    first, second = FakeChain(), FakeChain(blocks={1000 - FINALIZED_LAG_SLOTS: OTHER_BLOCK})
    second.away = Reply(b"", status=500)
    async with asked(first, second) as (rpc, [node, _]):
        for _ in range(FAILURES_BEFORE_DOWN):
            await rpc.probe()
        assert methods(node).count("getGenesisHash") == 1
        second.away = None
        for _ in range(2):
            await rpc.probe()
        assert ["other blocks" in each.detail for each in rpc.endpoints] == [False, True]


ILLS = (
    replying(Reply(b"", status=500)),
    replying(Reply(b"", status=503, headers=[("retry-after", "9")])),
    replying(Reply(b"", status=429, headers=[("retry-after", "1")])),
    replying(Reply(cut=True)),
    replying(Reply(b"nonsense")),
    refusing(-32005),
    refusing(-32429),
)


@pytest.mark.parametrize("seed", range(3))
async def test_one_healthy_endpoint_is_enough_whatever_happens_to_the_others(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvms.chain.rpc.endpoint_probe.PROBE_SECONDS", 0.5)
    chance = random.Random(seed)
    state = FakeChain()
    async with asked(state, state, state) as (rpc, started):
        healthy = chance.choice(started)
        for _ in range(40):
            state.slot += chance.choice((1, 1, 50))
            for node in started:
                well = node is healthy or chance.random() < 0.3
                node.script = state if well else chance.choice(ILLS)
            with trio.move_on_after(chance.choice((0.0005, 0.002, GENEROUS))):
                await rpc.get_balance(ACCOUNT)  # cancelled anywhere
            assert await rpc.get_balance(ACCOUNT) == state.slot
            options = [{"minContextSlot": state.slot}]
            assert (await rpc.call("getThing", options))["value"] == state.slot
            if chance.random() < 0.2:
                assert await rpc.probe() == state.slot


async def test_a_silent_endpoint_does_not_keep_the_others_from_being_probed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cvms.chain.rpc.endpoint_probe.PROBE_SECONDS", 0.6)
    async with asked(silent, FakeChain(slot=5)) as (rpc, _):
        began = trio.current_time()
        for _ in range(FAILURES_BEFORE_DOWN):
            assert await rpc.probe() == 5
        assert trio.current_time() - began < 5
        assert [each.up for each in rpc.endpoints] == [False, True]


@pytest.mark.parametrize(
    "nonsense",
    [
        {"context": {"slot": "9"}},
        {"context": {"slot": 2**70}},
        {"context": {"slot": True}},
        {"context": [5]},
        {"context": None},
    ],
)
async def test_an_invalid_context_is_not_read_as_a_slot(nonsense: Any) -> None:
    async with asked(answering(nonsense)) as (rpc, _):
        await rpc.call("getThing", [])
        assert rpc.endpoints[0].slot == 0


async def test_a_probe_survives_a_slot_that_is_none() -> None:
    for nonsense in ("ten", -1, 2**60, None):
        async with asked(answering(nonsense), FakeChain(slot=12)) as (rpc, _):
            assert await rpc.probe() == 12
        async with asked(answering(nonsense)) as (rpc, _):
            with pytest.raises(RpcError):
                await rpc.probe()


async def test_a_status_of_any_node_counts_and_the_most_advanced_wins() -> None:
    final = STATUS | {"confirmationStatus": "finalized"}
    first = FakeChain(slot=1000, statuses={"a": STATUS, "b": STATUS})
    second = FakeChain(slot=1001, statuses={"a": final})
    async with asked(first, second) as (rpc, _):
        found = await rpc.statuses_everywhere(["a", "b", "c"], min_context_slot=Slot(1000))
    assert [each and each.commitment for each in found.statuses] == ["finalized", "confirmed", None]
    assert found.slot == 1000


async def test_nothing_found_counts_up_to_the_slot_that_every_node_beyond_it_has_reached() -> None:
    behind, there = FakeChain(slot=900), FakeChain(slot=1010)
    async with asked(behind, there) as (rpc, _):
        assert (await rpc.statuses_everywhere(["a"], min_context_slot=Slot(1000))).slot == 1010
        there.slot = 999
        assert (await rpc.statuses_everywhere(["a"], min_context_slot=Slot(1000))).slot == 999
        assert (await rpc.statuses_at(["a"])).slot == 900


async def test_nothing_found_is_no_evidence_while_a_healthy_node_does_not_answer() -> None:
    known, there = FakeChain(away=Reply(b"", status=500)), FakeChain(slot=1010)
    async with asked(known, there) as (rpc, _):
        for _ in range(FAILURES_BEFORE_DOWN):
            found = await rpc.statuses_everywhere(["a"], min_context_slot=Slot(1000))
            assert (found.slot, found.statuses) == (0, [None])
        found = await rpc.statuses_everywhere(["a"], min_context_slot=Slot(1000))
        assert found.slot == 1010  # it is marked down, and not asked any more
        there.away = known.away
        for _ in range(FAILURES_BEFORE_DOWN):
            with pytest.raises(ChainUnavailable):
                await rpc.statuses_everywhere(["a"], min_context_slot=Slot(1000))
        with pytest.raises(ChainUnavailable, match="marked down"):
            await rpc.statuses_everywhere(["a"], min_context_slot=Slot(1000))


async def test_a_node_with_other_blocks_is_no_evidence() -> None:
    fork = {1000 - FINALIZED_LAG_SLOTS: OTHER_BLOCK}
    first = FakeChain(slot=1000)
    second = FakeChain(slot=1001, statuses={"a": STATUS}, blocks=fork)
    async with asked(first, second) as (rpc, _):
        for _ in range(2):
            await rpc.probe()
        one, _ = rpc._transport.pool.all()
        found = await rpc.statuses_everywhere(["a"], min_context_slot=Slot(1000))
        assert (found.slot, found.statuses) == (1000, [None])
        second.slot = 5000
        assert await rpc.probe() == 1000
        for _ in range(FAILURES_BEFORE_DOWN):
            rpc._transport.pool.failed(one)
        found = await rpc.statuses_everywhere(["a", "b"], min_context_slot=Slot(1000))
        assert found.slot == 0
        assert found.statuses[1] is None


async def test_a_transaction_is_handed_to_every_node_and_one_that_takes_it_is_enough() -> None:
    def unknown_blockhash(request: Any) -> Reply:
        return error(request, -32002, "Blockhash not found")

    first, second = FakeChain(sends=unknown_blockhash), FakeChain()
    async with asked(first, second, silent) as (rpc, started):
        with trio.fail_after(GENEROUS / 2):
            assert await rpc.send_everywhere(b"wire") == "signature"
        assert [node.requests[-1]["params"][0] for node in started] == ["d2lyZQ=="] * 3
        assert all(each.up for each in rpc.endpoints)
        second.sends = lambda request: error(request, -32003, "already been processed")
        started[2].script = replying(Reply(b"", status=500))
        with pytest.raises(RpcError) as caught:
            await rpc.send_everywhere(b"wire")
        assert "Blockhash not found; already been processed" in str(caught.value)


async def test_a_transaction_that_nobody_takes_is_a_timeout_or_unavailable() -> None:
    async with asked(silent, silent, timeout=0.2) as (rpc, _):
        with pytest.raises(ChainTimeout):
            await rpc.send_everywhere(b"wire")
    async with asked(replying(Reply(cut=True)), silent, timeout=0.5) as (rpc, _):
        with pytest.raises(ChainUnavailable) as caught:
            await rpc.send_everywhere(b"wire")
        assert type(caught.value) is ChainUnavailable


async def test_each_nodes_own_answer_can_be_seen() -> None:
    async with asked(answering(1), refusing(-5), replying(Reply(cut=True))) as (rpc, _):
        replies = await rpc.everywhere("getThing", [])
    assert replies[0].answer == 1
    assert isinstance(replies[1].answer, RpcError)
    assert isinstance(replies[2].answer, ChainUnavailable)
    assert [each.ok for each in replies] == [True, False, False]


async def test_transactions_are_asked_first_of_an_endpoint_known_to_be_at_their_slot() -> None:
    async def knows_nothing(request: Any) -> Reply:
        order.append("ahead")
        if request["method"] == "getSlot":
            return result(request, 2000)
        return result(request, None)

    async def behind(request: Any) -> Reply:
        order.append("behind")
        return await FakeChain(slot=1995)(request)

    order: list[str] = []
    async with asked(behind, knows_nothing) as (rpc, _):
        await rpc.probe()
        order.clear()
        found = await rpc.get_transactions(["s"], commitment=CONFIRMED, at_slot=Slot(1999))
        assert found == [None]
        assert order[0] == "ahead"
