"""The proxy answers as the node does, and each fault changes what it is meant to change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.chain.pubsub.log_subscription import LogsSubscribed, watch_logs
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.types import Commitment
from tests.harness.localnet import FAST, Localnet
from tests.provider_proxy import Provider, provider
from tests.provider_proxy.call_faults import (
    ERRORS,
    NOT_REACHED,
    Behind,
    BlockhashNotFound,
    ErrorAnswer,
    NotReached,
    NullResult,
    TextError,
    Units,
)
from tests.provider_proxy.fault import Fault
from tests.provider_proxy.history_faults import (
    BlockTimes,
    DoubledEntries,
    EmptyList,
    Holes,
    MissingEntries,
    NewestMissing,
    OtherOrder,
    ShortPages,
    UnknownCursor,
    WithoutMeta,
)
from tests.provider_proxy.request_faults import (
    BATCH_REFUSALS,
    PAGE,
    BatchRefusal,
    HttpRefusal,
    Page,
    Slow,
    Truncated,
)

ANY_VERSION = {"maxSupportedTransactionVersion": 0}


@dataclass(slots=True)
class Asker:
    """A client of the node, by way of a provider or directly."""

    url: str
    http: httpx.AsyncClient

    async def post(self, request: Any) -> httpx.Response:
        return await self.http.post(self.url, json=request)

    async def reply(self, method: str, *params: Any) -> dict[str, Any]:
        reply: dict[str, Any] = (await self.post(call(1, method, *params))).json()
        return reply

    async def result(self, method: str, *params: Any) -> Any:
        return (await self.reply(method, *params))["result"]


def call(number: int, method: str, *params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


@asynccontextmanager
async def asking(
    localnet: Localnet, *faults: Fault
) -> AsyncIterator[tuple[Asker, Asker, Provider]]:
    """Yield clients of a provider with faults and of its node, which stands still."""
    localnet.running.chain.pause()
    localnet.running.chain.advance(2 * FAST.finalized_lag)
    async with (
        provider(localnet.rpc_url, localnet.ws_url, *faults) as proxy,
        httpx.AsyncClient() as http,
    ):
        with trio.fail_after(10):
            yield Asker(proxy.url, http), Asker(localnet.rpc_url, http), proxy


async def test_without_faults_all_answers_are_the_nodes(localnet: Localnet) -> None:
    async with asking(localnet) as (asker, node, _):
        address = str(localnet.operator.pubkey())
        listed = await node.result("getSignaturesForAddress", address, {"commitment": "confirmed"})
        assert len(listed) > 1
        batch = [
            call(7, "getSlot"),
            call(5, "getTransaction", listed[0]["signature"], {"commitment": "confirmed"}),
            call(6, "getNonsense"),
            call(9, "getSignaturesForAddress", address, {"limit": 1}),
        ]
        through, direct = (await asker.post(batch)).json(), (await node.post(batch)).json()
        assert through == direct
        assert [each["id"] for each in through] == [7, 5, 6, 9]
        for each in batch:
            assert (await asker.post(each)).json() == (await node.post(each)).json()


async def test_faults_come_and_go_and_strike_their_methods_only(localnet: Localnet) -> None:
    fault = ErrorAnswer(methods="getSlot", times=2)
    async with asking(localnet, fault) as (asker, _, proxy):
        batch = [call(1, "getSlot"), call(2, "getBlockHeight"), call(3, "getSlot")]
        answers = (await asker.post(batch)).json()
        assert ["error" in each for each in answers] == [True, False, True]
        assert isinstance(await asker.result("getSlot"), int)
        assert proxy.struck(ErrorAnswer) == 2
        proxy.faults.append(Page(status=502))
        assert (await asker.post(call(1, "getSlot"))).status_code == 502
        proxy.clear()
        assert isinstance(await asker.result("getSlot"), int)


async def test_the_same_seed_gives_the_same_faults(localnet: Localnet) -> None:
    async def sequence() -> list[bool]:
        fault = NullResult(probability=0.5)
        async with asking(localnet, fault) as (asker, _, _):
            return [await asker.result("getSlot") is None for _ in range(20)]

    first = await sequence()
    assert True in first
    assert False in first
    assert await sequence() == first


@pytest.mark.parametrize("status", [403, 405, 410, 429, 500, 503])
async def test_a_method_is_refused_by_a_status(localnet: Localnet, status: int) -> None:
    fault = HttpRefusal(methods="getProgramAccounts", status=status)
    async with asking(localnet, fault) as (asker, _, _):
        refused = await asker.post(call(1, "getProgramAccounts", str(Keypair().pubkey())))
        assert (refused.status_code, refused.content) == (status, fault.body)
        assert (await asker.post(call(1, "getSlot"))).status_code == 200


@pytest.mark.parametrize(("code", "message"), ERRORS)
async def test_a_call_is_refused_by_an_error(localnet: Localnet, code: int, message: str) -> None:
    fault = ErrorAnswer(code=code, message=message)
    async with asking(localnet, fault) as (asker, _, _):
        assert (await asker.reply("getSlot"))["error"] == {"code": code, "message": message}


@pytest.mark.parametrize("fields", BATCH_REFUSALS)
async def test_batches_are_refused_and_single_calls_are_not(
    localnet: Localnet, fields: dict[str, Any]
) -> None:
    async with asking(localnet, BatchRefusal(**fields)) as (asker, _, _):
        for batch in ([call(1, "getSlot")], [call(1, "getSlot"), call(2, "getSlot")]):
            refused = await asker.post(batch)
            assert refused.status_code == fields.get("status", 200)
            assert fields["message"] in refused.text
            if "code" in fields:
                assert refused.json()["error"]["code"] == fields["code"]
        assert isinstance(await asker.result("getSlot"), int)


async def test_small_batches_may_be_allowed(localnet: Localnet) -> None:
    async with asking(localnet, BatchRefusal(max_calls=2)) as (asker, _, _):
        assert len((await asker.post([call(1, "getSlot"), call(2, "getSlot")])).json()) == 2
        assert "not allowed" in (await asker.post([call(n, "getSlot") for n in range(3)])).text


async def test_bodies_that_are_no_answers(localnet: Localnet) -> None:
    bodies = []
    for fault in (Page(), TextError(), Truncated()):
        async with asking(localnet, fault) as (asker, _, _):
            reply = await asker.post(call(1, "getSlot"))
            assert reply.status_code == 200
            bodies.append(reply.content)
    page, text, cut = bodies
    assert page == PAGE
    assert b'"error": "upstream request timeout"' in text
    assert cut.startswith(b'{"jsonrpc')
    assert not cut.endswith(b"}")


async def test_a_slow_answer(localnet: Localnet) -> None:
    async with asking(localnet, Slow(seconds=0.3)) as (asker, _, _):
        began = trio.current_time()
        await asker.result("getSlot")
        assert trio.current_time() - began >= 0.3


async def test_an_answer_is_lost_after_the_node_has_run_the_call(localnet: Localnet) -> None:
    key = str(Keypair().pubkey())
    fault = HttpRefusal(methods="requestAirdrop", status=502, forwards=True)
    async with asking(localnet, fault) as (asker, node, _):
        assert (await asker.post(call(1, "requestAirdrop", key, 5_000_000))).status_code == 502
        localnet.running.chain.advance(2 * FAST.finalized_lag)
        assert (await node.result("getBalance", key))["value"] == 5_000_000


# --- history -------------------------------------------------------------------------------------


async def listed(asker: Asker, localnet: Localnet, **options: Any) -> list[str]:
    address = str(localnet.operator.pubkey())
    options |= {"commitment": "confirmed"}
    found = await asker.result("getSignaturesForAddress", address, options)
    return [each["signature"] for each in found]


def test_a_share_of_the_ledger_is_missing_always_the_same_one() -> None:
    names = [f"signature {number}" for number in range(1000)]
    missing = [
        list(map(Holes(share=0.3, seed=seed).lacks_transaction, names)) for seed in (1, 1, 2)
    ]
    assert missing[0] == missing[1] != missing[2]
    assert all(250 < each.count(True) < 350 for each in missing)


async def test_holes_are_null_as_transactions_and_statuses_and_errors_as_blocks(
    localnet: Localnet,
) -> None:
    async with asking(localnet) as (asker, node, proxy):
        signatures = await listed(node, localnet)
        proxy.add(Holes(signatures=signatures[1:]))
        found = [await asker.result("getTransaction", each, ANY_VERSION) for each in signatures]
        missing = [each is None for each in found]
        assert missing == [False, *[True] * len(signatures[1:])]
        statuses = (await asker.result("getSignatureStatuses", signatures))["value"]
        assert [each is None for each in statuses] == missing
        slot = (await node.result("getTransaction", signatures[0], ANY_VERSION))["slot"]
        proxy.faults[:] = [Holes(slots=[slot], code=-32009)]
        assert (await asker.reply("getBlock", slot))["error"]["code"] == -32009


async def test_a_fault_has_begun_once_all_that_was_asked_before_is_answered(
    localnet: Localnet,
) -> None:
    async with asking(localnet) as (asker, node, proxy), trio.open_nursery() as nursery:
        assert await listed(node, localnet)
        nursery.start_soon(listed, asker, localnet)
        while not proxy.under_way:
            await trio.lowlevel.checkpoint()
        await proxy.begin(EmptyList())
        assert not proxy.under_way
        assert await listed(asker, localnet) == []


LISTS: tuple[tuple[Fault, Callable[[list[str]], list[str]]], ...] = (
    (ShortPages(entries=1), lambda all_: all_[:1]),
    (EmptyList(), lambda _: []),
    (NewestMissing(entries=1), lambda all_: all_[1:]),
    (DoubledEntries(share=1.0), lambda all_: [each for each in all_ for _ in range(2)]),
    (OtherOrder(order="oldest"), lambda all_: all_[::-1]),
    (MissingEntries(share=1.0), lambda _: []),
    (UnknownCursor(answers="newest"), lambda all_: all_),
)


@pytest.mark.parametrize(("fault", "expected"), LISTS, ids=lambda each: type(each).__name__)
async def test_a_list_is_cut_doubled_or_reordered(
    localnet: Localnet, fault: Fault, expected: Callable[[list[str]], list[str]]
) -> None:
    async with asking(localnet, fault) as (asker, node, _):
        assert await listed(asker, localnet) == expected(await listed(node, localnet))


async def test_the_order_within_a_slot_is_reversed_and_that_of_slots_is_not() -> None:
    entries = [{"slot": slot, "signature": name} for slot, name in ((2, "d"), (1, "c"), (1, "b"))]
    assert [each["signature"] for each in OtherOrder().listed(entries)] == ["d", "b", "c"]


async def test_a_cursor_is_unknown_in_three_ways(localnet: Localnet) -> None:
    async with asking(localnet) as (asker, node, proxy):
        newest, *older = await listed(node, localnet)
        assert await listed(asker, localnet, before=newest) == older
        proxy.faults[:] = [UnknownCursor()]
        address = str(localnet.operator.pubkey())
        reply = await asker.reply("getSignaturesForAddress", address, {"until": newest})
        error = {"code": -32020, "message": f"Transaction {newest} not found"}
        assert reply["error"] == error
        proxy.faults[:] = [UnknownCursor(answers="newest")]
        assert await listed(asker, localnet, before=newest) == [newest, *older]
        proxy.faults[:] = [UnknownCursor(answers="empty")]
        assert await listed(asker, localnet, until=older[-1]) == []


async def test_a_transaction_without_meta_and_with_odd_times(localnet: Localnet) -> None:
    async with asking(localnet) as (asker, node, proxy):
        [newest, *_] = await listed(node, localnet)
        true = await node.result("getTransaction", newest, ANY_VERSION)
        proxy.faults[:] = [WithoutMeta()]
        assert await asker.result("getTransaction", newest, ANY_VERSION) == true | {"meta": None}
        for time, shown in ((None, None), ("ms", true["blockTime"] * 1000), (-(10**40), -(10**40))):
            proxy.faults[:] = [BlockTimes(time=time)]
            assert await asker.result("getTransaction", newest, ANY_VERSION) == true | {
                "blockTime": shown
            }


# --- a node behind -------------------------------------------------------------------------------


async def test_a_node_behind_is_asked_for_the_slot_and_refuses_later_ones(
    localnet: Localnet,
) -> None:
    key = str(Keypair().pubkey())
    async with asking(localnet, Behind(slots=2, code=-32603)) as (asker, node, _):
        newest = await node.result("getSlot")
        assert await asker.result("getSlot") == newest - 2
        height = await node.result("getBlockHeight")
        assert await asker.result("getBlockHeight") == height - 2
        context = (await asker.result("getBalance", key, {"minContextSlot": newest - 2}))["context"]
        assert context["slot"] == newest
        refused = await asker.reply("getBalance", key, {"minContextSlot": newest - 1})
        assert (refused["error"]["code"], refused["error"]["message"]) == (-32603, NOT_REACHED)


async def test_a_minimum_slot_is_refused_in_other_words(localnet: Localnet) -> None:
    key = str(Keypair().pubkey())
    async with asking(localnet, NotReached()) as (asker, _, _):
        refused = await asker.reply("getBalance", key, {"minContextSlot": 1})
        assert refused["error"]["code"] == -32603
        assert NOT_REACHED in refused["error"]["message"]
        assert "result" in await asker.reply("getBalance", key)


async def test_a_block_hash_is_not_found_and_units_are_not_counted(localnet: Localnet) -> None:
    wire, options = "AQ==", {"encoding": "base64"}
    fault = BlockhashNotFound()
    refused = fault.answer(call(1, "sendTransaction", wire, options))
    assert refused is not None
    assert refused["error"]["data"]["err"] == "BlockhashNotFound"
    skipping = call(1, "sendTransaction", wire, options | {"skipPreflight": True})
    assert fault.answer(skipping) is None
    simulated: dict[str, Any] = {"result": {"value": {"err": None, "unitsConsumed": 5}}}
    asked = call(1, "simulateTransaction", wire, options)
    for units, shown in (("absent", {}), (None, {"unitsConsumed": None})):
        Units(units=units).change(asked, simulated)
        assert simulated["result"]["value"] == {"err": None} | shown
    replacing = call(1, "simulateTransaction", wire, {"replaceRecentBlockhash": True})
    assert fault.change(replacing, simulated)["result"]["value"]["err"] is None
    assert fault.change(asked, simulated)["result"]["value"]["err"] == "BlockhashNotFound"


# --- the service's own client --------------------------------------------------------------------


async def test_our_client_works_through_a_provider(
    localnet: Localnet, nursery: trio.Nursery
) -> None:
    program, confirmed = localnet.programs.vault, Commitment.CONFIRMED
    send, notices = trio.open_memory_channel[Any](10)
    async with (
        provider(localnet.rpc_url, localnet.ws_url) as proxy,
        open_rpc([proxy.url]) as rpc,
    ):
        watch = partial(watch_logs, commitment=confirmed, notices=send)
        nursery.start_soon(watch, [proxy.ws_url], program)
        with trio.fail_after(10):
            page = await rpc.get_signatures_for_address(program, commitment=confirmed, limit=9)
            names = [each.signature for each in page]
            assert names
            records = await rpc.get_transactions(names, commitment=confirmed)
            assert [record.signature for record in records if record is not None] == names
            assert await notices.receive() == LogsSubscribed()
        nursery.cancel_scope.cancel()
