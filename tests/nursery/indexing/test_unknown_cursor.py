"""Nodes that do not know where the index is, or that lack a part of what they listed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import httpx
import pytest

from cvms.chain.rpc.error_codes import (
    MIN_CONTEXT_SLOT_NOT_REACHED,
    SLOT_SKIPPED,
    TRANSACTION_NOT_FOUND,
)
from cvms.chain.rpc.responses import SignatureInfo, StatusesAt, TransactionRecord
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.rpc.transport.call_state import Call
from cvms.chain.types import Slot
from cvms.errors import ChainUnavailable, CvmsError, GapNotClosed, RpcError
from cvms.nursery.indexing.indexer import STUCK_ROUNDS
from tests.chain.rpc.scripted_node import Reply, nodes
from tests.nursery.forking import Forking, opened
from tests.provider_proxy import provider
from tests.provider_proxy.call_faults import ErrorAnswer
from tests.provider_proxy.fault import Fault
from tests.provider_proxy.history_faults import DoubledEntries
from tests.provider_proxy.request_faults import HttpRefusal

Answer = Literal["error", "newest", "empty"]
ANSWERS: tuple[Answer, ...] = ("error", "newest", "empty")


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("dropped", [1, 2, 3])
async def test_a_cursor_that_a_fork_dropped_is_rolled_back(
    forking: Forking, answer: Answer, dropped: int
) -> None:
    """Of the last three transactions, one, two (all that the cursor holds) or all are dropped."""
    world, owner = forking.world, await opened(forking)
    for amount in (100, 20, 3):
        await forking.act((owner, world.deposit(owner, amount)))
        await forking.catch_up()
    forking.fork(dropped + 1)
    world.chain.faults.history.unknown_cursor = answer
    await forking.catch_up()
    await forking.act((owner, world.deposit(owner, 7)))
    await forking.catch_up()
    kept = [100, 20, 3][: 3 - dropped]
    assert [amount for _, amount, _ in await world.history(owner)] == [*kept, 7]
    assert await forking.differing() == {}


class ForgetsOne(RpcClient):
    """A node that does not know the transaction before the cursor's."""

    forgotten: str

    async def get_signatures_for_address(self, *args: Any, **kwargs: Any) -> list[SignatureInfo]:
        if kwargs.get("until") == self.forgotten:
            raise RpcError(TRANSACTION_NOT_FOUND, f"Transaction {self.forgotten} not found")
        return await super().get_signatures_for_address(*args, **kwargs)


async def test_a_node_that_knows_the_cursor_but_not_the_one_before_is_used(
    forking: Forking,
) -> None:
    world, owner = forking.world, await opened(forking)
    for amount in (100, 20):
        await forking.act((owner, world.deposit(owner, amount)))
    await forking.catch_up()
    cursor = await world.cursor()
    assert cursor is not None
    assert cursor.previous_signature is not None
    await forking.act((owner, world.deposit(owner, 3)))
    node = ForgetsOne(world.rpc._transport)
    node.forgotten = cursor.previous_signature
    await forking.catch_up(world.indexer(rpc=node))
    assert [amount for _, amount, _ in await world.history(owner)] == [100, 20, 3]


class CutsPages(RpcClient):
    """A provider whose pages have three transactions at most, whatever the limit."""

    async def get_signatures_for_address(self, *args: Any, **kwargs: Any) -> list[SignatureInfo]:
        return (await super().get_signatures_for_address(*args, **kwargs))[:3]


@pytest.mark.parametrize("from_nothing", [False, True])
async def test_a_short_page_is_not_the_end_of_the_history(
    forking: Forking, from_nothing: bool
) -> None:
    world, owner = forking.world, await opened(forking)
    if from_nothing:
        await world.execute("DELETE FROM indexer_cursor")
    for amount in range(1, 12):
        await forking.act((owner, world.deposit(owner, amount)))
    cut = CutsPages(world.rpc._transport)
    await forking.catch_up(world.indexer(rpc=cut))
    assert [amount for _, amount, _ in await world.history(owner)] == list(range(1, 12))


async def test_a_backfill_goes_on_after_a_short_page_and_not_from_the_beginning(
    forking: Forking,
) -> None:
    world, owner = forking.world, await opened(forking)
    for amount in range(1, 12):
        await forking.act((owner, world.deposit(owner, amount)))
    world.chain.chain.advance(6)
    indexer = world.indexer(rpc=CutsPages(world.rpc._transport))
    indexer.longest_gap = 2
    await forking.catch_up(indexer)
    assert [amount for _, amount, _ in await world.history(owner)] == list(range(1, 12))
    for amount in range(12, 20):
        await forking.act((owner, world.deposit(owner, amount)))
    world.chain.chain.advance(6)

    class BeginsAgain(CutsPages):
        async def get_signatures_for_address(
            self, *args: Any, **kwargs: Any
        ) -> list[SignatureInfo]:
            return await super().get_signatures_for_address(*args, **{**kwargs, "before": None})

    again = world.indexer(rpc=BeginsAgain(world.rpc._transport))
    again.longest_gap = 2
    with pytest.raises(GapNotClosed):
        await forking.catch_up(again)
    await forking.catch_up()
    assert [amount for _, amount, _ in await world.history(owner)] == list(range(1, 20))


class Forgetful(RpcClient):
    """A node that has lost the status of a transaction."""

    forgotten: str

    async def statuses_everywhere(
        self, signatures: Sequence[str], *, min_context_slot: Slot
    ) -> StatusesAt:
        seen = await super().statuses_everywhere(signatures, min_context_slot=min_context_slot)
        statuses = zip(signatures, seen.statuses, strict=True)
        return StatusesAt(
            seen.slot, [None if key == self.forgotten else each for key, each in statuses]
        )


async def test_a_deposit_is_not_taken_back_because_a_node_does_not_list_it(
    forking: Forking,
) -> None:
    world, owner = forking.world, await opened(forking)
    forgetful = Forgetful(world.rpc._transport)
    [forgetful.forgotten] = await forking.act((owner, world.deposit(owner, 100)))
    await forking.catch_up()
    world.chain.chain.advance(6)
    seen = Slot(world.chain.chain.tip.slot - 4)
    with pytest.raises(GapNotClosed, match="contains"):
        await world.indexer(rpc=forgetful).forks.roll_back(seen=seen)
    await world.finalizer(rpc=forgetful).run_once()
    published = [(kind, amount) for kind, _, amount in await forking.published()]
    assert published == [("event", 100)]
    async with world.database.connection() as conn:
        rows = await (await conn.execute("SELECT DISTINCT commitment FROM chain_events")).fetchall()
    assert rows == [("finalized",)], "the block itself says that it is final"


@pytest.mark.parametrize("final", [True, False], ids=["final", "not final"])
async def test_a_fork_after_a_transaction_without_a_status_is_rolled_back(
    forking: Forking, final: bool
) -> None:
    world, owner = forking.world, await opened(forking)
    forgetful = Forgetful(world.rpc._transport)
    [forgetful.forgotten] = await forking.act((owner, world.deposit(owner, 100)))
    await forking.catch_up()
    if final:
        world.chain.chain.advance(8)
        await world.finalizer(rpc=forgetful).run_once()
    await forking.act((owner, world.deposit(owner, 20)))
    await forking.catch_up()
    forking.fork(2)
    await forking.act((owner, world.deposit(owner, 7)))
    indexer = world.indexer(rpc=forgetful)
    if not final:
        with pytest.raises(GapNotClosed, match="contains"):
            await indexer.catch_up()
        world.chain.chain.advance(8)
        await world.finalizer(rpc=forgetful).run_once()
    await forking.catch_up(indexer)
    assert [amount for _, amount, _ in await world.history(owner)] == [100, 7]
    assert world.progress.problem is None
    world.chain.chain.advance(8)
    await world.finalizer().run_once()
    assert await forking.differing() == {}


class Hole(Forgetful):
    """A node that lacks the transaction too, and calls its slot skipped."""

    slot: int

    async def get_transactions(
        self, signatures: Sequence[str], **kwargs: Any
    ) -> list[TransactionRecord | None]:
        found = await super().get_transactions(signatures, **kwargs)
        return [None if each and each.signature == self.forgotten else each for each in found]

    async def call(self, method: str, params: Sequence[Any], **kwargs: Any) -> Any:
        answer = await super().call(method, params, **kwargs)
        return [each for each in answer if each != self.slot] if method == "getBlocks" else answer

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        missing = RpcError(SLOT_SKIPPED, f"Slot {self.slot} was skipped, or missing in storage")
        return [
            missing if (call.method, call.params[0]) == ("getBlock", self.slot) else answer
            for call, answer in zip(calls, await super().batch(calls), strict=True)
        ]


async def test_a_hole_in_a_ledger_takes_nothing_back(forking: Forking) -> None:
    """Neither the transaction nor the block is there, but the next block names it as its parent."""
    world, owner = forking.world, await opened(forking)
    hole = Hole(world.rpc._transport)
    hole.slot = world.chain.chain.tip.slot
    [hole.forgotten] = await forking.act((owner, world.deposit(owner, 100)))
    await forking.catch_up()
    world.chain.chain.advance(6)
    with pytest.raises(GapNotClosed, match="no node has the blocks"):
        await world.finalizer(rpc=hole).run_once()
    assert [(kind, amount) for kind, _, amount in await forking.published()] == [("event", 100)]
    await world.finalizer().run_once()
    assert await forking.differing() == {}


async def test_a_list_that_stays_out_of_order_is_asked_of_another_endpoint(
    forking: Forking,
) -> None:
    """Its preferred node lists the newest first within a block, and then the wrong way round."""
    world, owner = forking.world, await opened(forking)
    for amount in (100, 20, 3):
        await forking.act((owner, world.deposit(owner, amount)))
    async with httpx.AsyncClient() as http:

        async def reversing(request: Any) -> Reply:
            body = (await http.post(world.chain.rpc_url, json=request)).json()
            if isinstance(request, dict) and request["method"] == "getSignaturesForAddress":
                body["result"].reverse()
            return Reply(json.dumps(body).encode())

        async with nodes(reversing) as [node]:
            async with open_rpc([node.url]) as alone:
                indexer = world.indexer(rpc=alone)
                for _ in range(2 * STUCK_ROUNDS):
                    with pytest.raises(GapNotClosed):
                        await indexer.catch_up()
                assert "lists" in str(world.progress.problem)
                assert await world.history(owner) == []
            async with open_rpc([node.url, world.chain.rpc_url]) as both:
                indexer = world.indexer(rpc=both)
                for _ in range(STUCK_ROUNDS * 2):
                    with pytest.raises(GapNotClosed):
                        await indexer.catch_up()
                await forking.catch_up(indexer)
    assert world.progress.problem is None
    assert [amount for _, amount, _ in await world.history(owner)] == [100, 20, 3]


@pytest.mark.parametrize(
    "refusal",
    [
        HttpRefusal(methods="getSignaturesForAddress", status=403),
        ErrorAnswer(methods="getSignaturesForAddress", code=-32601),
        ErrorAnswer(methods="getSignaturesForAddress", code=MIN_CONTEXT_SLOT_NOT_REACHED),
    ],
    ids=["HTTP 403", "method not found", "behind"],
)
async def test_after_an_endpoint_that_lists_nothing_the_first_is_asked_again(
    forking: Forking, refusal: Fault
) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, DoubledEntries(share=1.0)) as first,
        provider(world.chain.rpc_url, world.chain.ws_url, refusal) as second,
        open_rpc([first.url, second.url]) as rpc,
    ):
        await rpc.probe()
        indexer = world.indexer(rpc=rpc)
        for _ in range(2 * STUCK_ROUNDS + 2):
            with pytest.raises((GapNotClosed, ChainUnavailable, RpcError)):
                await indexer.catch_up()
        first.faults.clear()
        for _ in range(2 * STUCK_ROUNDS):
            with suppress(CvmsError):
                if await indexer.catch_up():
                    break
    assert [amount for _, amount, _ in await world.history(owner)] == [100]
    assert world.progress.problem is None


async def test_a_transaction_that_no_node_gives_is_named_as_the_reason(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    world.chain.faults.history.missing = 1
    indexer = world.indexer()
    for _ in range(STUCK_ROUNDS):
        assert not await indexer.catch_up()
    cursor = await world.cursor()
    assert cursor is not None
    assert cursor.signature in str(world.progress.problem)
    world.chain.faults.clear()
    await forking.catch_up(indexer)
    assert world.progress.problem is None
