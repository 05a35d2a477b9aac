"""Dense slots are read from their blocks, and whatever is wrong with a block, nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from solders.keypair import Keypair
from solders.system_program import TransferParams, transfer
from structlog.testing import capture_logs

from cvms.chain.rpc.rpc_client import open_rpc
from cvms.nursery.indexing.block_reader import HOLD_SECONDS, MAX_PAUSE_SECONDS
from cvms.nursery.indexing.indexer import BATCH, FIRST_BATCH, STUCK_ROUNDS, Indexer
from tests.nursery.forking import Forking, opened, until_applied
from tests.nursery.index_tables import differing_tables
from tests.nursery.world import World, assert_books_match, running, until
from tests.provider_proxy import provider
from tests.provider_proxy.call_faults import ErrorAnswer, NullResult, TextError
from tests.provider_proxy.fault import Fault
from tests.provider_proxy.history_faults import (
    BlockTimes,
    CutBlocks,
    Holes,
    MissingEntries,
    NewestMissing,
    OtherBlocks,
    OtherDetails,
    WithoutMeta,
)
from tests.provider_proxy.provider import Provider
from tests.provider_proxy.request_faults import BatchRefusal, HttpRefusal, Slow, Truncated

IN_A_SLOT = 4


@asynccontextmanager
async def through_provider(
    world: World, *faults: Fault, batch_size: int = 100, timeout: float = 5.0
) -> AsyncIterator[tuple[Indexer, Provider]]:
    """An indexer whose only endpoint is a provider with these faults."""
    node = world.chain
    async with (
        provider(node.rpc_url, node.ws_url, *faults) as proxy,
        open_rpc([proxy.url], timeout=timeout) as rpc,
    ):
        proxy.recording = True
        indexer = world.indexer(rpc=rpc, batch_size=batch_size)
        indexer.blocks.dense = IN_A_SLOT
        yield indexer, proxy


async def dense_slots(forking: Forking, owner: Keypair, count: int) -> list[str]:
    """Make so many blocks of IN_A_SLOT deposits; return the signatures."""
    world, signatures = forking.world, list[str]()
    for number in range(count):
        amounts = [number * IN_A_SLOT + each + 1 for each in range(IN_A_SLOT)]
        signatures += await forking.act(*((owner, world.deposit(owner, each)) for each in amounts))
    return signatures


def calls(proxy: Provider) -> Counter[str]:
    return Counter(call["method"] for call in proxy.calls)


async def deposits(world: World, owner: Keypair) -> list[int]:
    return [amount for kind, amount, _ in await world.history(owner) if kind == "deposit"]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
async def test_a_block_replaces_the_transactions_of_its_slot(
    forking: Forking, batch_size: int
) -> None:
    world, owner = forking.world, await opened(forking)
    await dense_slots(forking, owner, 6)
    failed = world.withdraw(owner, 10**9)
    await forking.act(*[(owner, world.deposit(owner, 30 + n)) for n in range(5)], (owner, failed))
    [alone] = await forking.act((owner, world.deposit(owner, 7)))
    async with through_provider(world, batch_size=batch_size) as (indexer, proxy):
        assert await indexer.catch_up()
        assert calls(proxy)["getBlock"] == 7, "each once, also if a batch ends within it"
        read = [call["params"][0] for call in proxy.calls if call["method"] == "getTransaction"]
        assert read == [alone]
    assert await deposits(world, owner) == [*range(1, 25), *range(30, 35), 7]
    assert await forking.differing() == {}, "to the same read one by one"
    await assert_books_match(world)


FAULTS: dict[str, Fault] = {
    "not served": ErrorAnswer(methods="getBlock"),
    "not kept": ErrorAnswer(methods="getBlock", code=-32001, message="Block 5 cleaned up"),
    "of a later version": ErrorAnswer(
        methods="getBlock", code=-32015, message="Transaction version (2) is not supported"
    ),
    "throttled": ErrorAnswer(methods="getBlock", code=429, message="Too many requests", times=1),
    "forbidden": HttpRefusal(methods="getBlock", status=403, body=b"not in your plan"),
    "unavailable": HttpRefusal(methods="getBlock", status=503, body=b""),
    "cut off": Truncated(methods="getBlock"),
    "an error in words": TextError(methods="getBlock"),
    "null": NullResult(methods="getBlock"),
    "holes": Holes(methods="getBlock", share=1.0),
    "no outcomes": WithoutMeta(methods="getBlock"),
    "no transactions": CutBlocks(entries=0),
    "too few transactions": CutBlocks(entries=IN_A_SLOT - 1),
    "of the slot before": OtherBlocks(distance=-1),
    "of the slot after": OtherBlocks(distance=1),
    "of another time": BlockTimes(methods="getBlock", time=1_700_000_000),
    "without a time": BlockTimes(methods="getBlock"),
    "signatures only": OtherDetails(details="signatures"),
    "accounts only": OtherDetails(details="accounts"),
    "no details": OtherDetails(details="none"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_useless_block_is_read_one_by_one(forking: Forking, name: str) -> None:
    world, owner = forking.world, await opened(forking)
    signatures = await dense_slots(forking, owner, 3)
    fault = FAULTS[name]
    fault.struck = 0
    with capture_logs() as logs:
        async with through_provider(world, fault) as (indexer, proxy):
            assert await indexer.catch_up()
            assert fault.struck > 0
            read = {call["params"][0] for call in proxy.calls if call["method"] == "getTransaction"}
    assert read <= set(signatures)
    assert len(read) >= IN_A_SLOT or name == "throttled"
    assert ("blocks_not_read" in {line["event"] for line in logs}) == (name != "throttled")
    assert await deposits(world, owner) == list(range(1, 3 * IN_A_SLOT + 1))
    assert await forking.differing() == {}
    await assert_books_match(world)


async def test_a_limit_on_the_size_of_answers_does_not_split_other_requests(
    forking: Forking,
) -> None:
    world, owner = forking.world, await opened(forking)
    await dense_slots(forking, owner, 3)
    too_large = BatchRefusal(methods="getBlock", status=413)
    with capture_logs() as logs:
        async with through_provider(world, too_large) as (indexer, proxy):
            assert await indexer.catch_up()
            assert calls(proxy)["getTransaction"] == 0
    assert [line for line in logs if line["event"] == "rpc_batch_refused"] == []
    assert await deposits(world, owner) == list(range(1, 3 * IN_A_SLOT + 1))


async def test_a_block_that_takes_too_long_costs_one_timeout_and_no_endpoint(
    forking: Forking,
) -> None:
    world, owner = forking.world, await opened(forking)
    await dense_slots(forking, owner, 8)
    slow = Slow(methods="getBlock", seconds=1_000)
    async with through_provider(world, slow, timeout=2.0) as (indexer, _):
        indexer.batch_size = IN_A_SLOT
        assert await indexer.catch_up()
        [endpoint] = indexer.rpc.endpoints
    assert slow.struck == 1
    assert endpoint.up
    assert await deposits(world, owner) == list(range(1, 8 * IN_A_SLOT + 1))


async def test_after_a_useless_block_the_next_ones_are_left_alone_for_a_while(
    forking: Forking,
) -> None:
    world, owner = forking.world, await opened(forking)
    async with through_provider(world, NullResult(methods="getBlock")) as (indexer, proxy):
        await dense_slots(forking, owner, 8)
        assert await indexer.catch_up()
        assert calls(proxy)["getBlock"] == 1
        await dense_slots(forking, owner, 1)
        assert await indexer.catch_up()
        assert calls(proxy)["getBlock"] == 1
        proxy.clear()
        later = trio.current_time() + MAX_PAUSE_SECONDS
        indexer.blocks.clock = lambda: later
        await dense_slots(forking, owner, 2)
        assert await indexer.catch_up()
        assert calls(proxy)["getBlock"] == 1 + 2
    await assert_books_match(world)


async def test_blocks_that_are_mostly_of_others_are_left_alone(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    for number in range(2):
        ours = [(owner, world.deposit(owner, 10 * number + each + 1)) for each in range(IN_A_SLOT)]
        others = [
            (owner, transfer(TransferParams(from_pubkey=key, to_pubkey=key, lamports=each + 1)))
            for each in range(4 * IN_A_SLOT)
            if (key := owner.pubkey())
        ]
        await forking.act(*ours, *others)
        async with through_provider(world) as (indexer, proxy):
            with capture_logs() as logs:
                assert await indexer.catch_up()
            assert calls(proxy)["getBlock"] == 1
            assert calls(proxy)["getTransaction"] == 0
        [line] = [line for line in logs if line["event"] == "blocks_not_read"]
        assert "of other programs" in line["reason"]
    await assert_books_match(world)


@pytest.mark.parametrize("place", [1, IN_A_SLOT, 3 * IN_A_SLOT - 1])
async def test_a_list_that_lacks_a_transaction_of_a_block_is_not_followed_past_it(
    forking: Forking, place: int
) -> None:
    world, owner = forking.world, await opened(forking)
    signatures = await dense_slots(forking, owner, 3)
    lacking = MissingEntries(share=0.0, signatures=[signatures[place]])
    async with through_provider(world, lacking) as (indexer, proxy):
        indexer.blocks.dense = IN_A_SLOT - 1
        with capture_logs() as logs:
            for _ in range(STUCK_ROUNDS + 1):
                assert not await indexer.catch_up()
        before = place - place % IN_A_SLOT
        assert await deposits(world, owner) == list(range(1, before + 1))
        assert world.progress.problem is not None
        lines = [line for line in logs if line["event"] == "list_not_complete"]
        assert {(line["first"], line["count"]) for line in lines} == {(signatures[place], 1)}
        proxy.clear()
        assert await indexer.catch_up()
        assert world.progress.problem is None
    assert await deposits(world, owner) == list(range(1, 3 * IN_A_SLOT + 1))
    assert await forking.differing() == {}
    await assert_books_match(world)


async def test_a_list_that_stays_incomplete_does_not_stop_the_indexer_for_ever(
    forking: Forking,
) -> None:
    world, owner = forking.world, await opened(forking)
    signatures = await dense_slots(forking, owner, 2)
    lacking = MissingEntries(share=0.0, signatures=[signatures[1]])
    seconds = 0.0
    async with through_provider(world, lacking) as (indexer, _):
        indexer.blocks.dense, indexer.blocks.clock = IN_A_SLOT - 1, lambda: seconds
        assert not await indexer.catch_up()
        assert await deposits(world, owner) == []
        seconds = HOLD_SECONDS
        for _ in range(STUCK_ROUNDS):
            await indexer.catch_up()
    assert len(await deposits(world, owner)) == 2 * IN_A_SLOT - 1


async def test_the_list_of_another_endpoint_is_followed_instead(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    signatures = await dense_slots(forking, owner, 2)
    lacking = MissingEntries(share=0.0, signatures=[signatures[2]])
    node = world.chain
    async with (
        provider(node.rpc_url, node.ws_url, lacking) as proxy,
        open_rpc([proxy.url, node.rpc_url]) as rpc,
    ):
        await rpc.probe()
        indexer = world.indexer(rpc=rpc)
        indexer.blocks.dense = IN_A_SLOT - 1
        caught_up = [await indexer.catch_up() for _ in range(3 * STUCK_ROUNDS)]
    assert not any(caught_up[:STUCK_ROUNDS])
    assert any(caught_up)
    assert await deposits(world, owner) == list(range(1, 2 * IN_A_SLOT + 1))


async def test_a_slot_that_the_cursor_or_a_chunk_cuts_is_read_from_its_block(
    forking: Forking, postgres_server: str
) -> None:
    world, owner = forking.world, await opened(forking)
    await dense_slots(forking, owner, 4)
    world.chain.chain.advance(6)
    await world.execute("DELETE FROM indexer_cursor")
    async with through_provider(world, batch_size=3) as (indexer, proxy):
        indexer.longest_gap, indexer.backfill.page_size, indexer.backfill.chunk = 5, 3, 3
        indexer.blocks.dense = 2
        assert [await indexer.catch_up() for _ in range(2)] == [False, True]
        assert calls(proxy)["getBlock"] >= 4
    assert await deposits(world, owner) == list(range(1, 4 * IN_A_SLOT + 1))
    assert await differing_tables(world, postgres_server) == {}


@pytest.mark.parametrize("fault", ["short logs", "no inner instructions"])
async def test_truncated_logs_in_a_block_are_reconstructed(forking: Forking, fault: str) -> None:
    world, owner = forking.world, await opened(forking)
    await dense_slots(forking, owner, 2)
    if fault == "short logs":
        world.chain.faults.history.log_bytes = 400
    else:
        world.chain.faults.history.no_inner_instructions = True
    async with through_provider(world) as (indexer, proxy):
        assert await indexer.catch_up()
        assert calls(proxy)["getBlock"] == 2, "though each transaction is a batch of its own"
        assert calls(proxy)["getTransaction"] == 0
    assert await deposits(world, owner) == list(range(1, 2 * IN_A_SLOT + 1))
    await assert_books_match(world)


@pytest.mark.parametrize("blocks", [1, 2])
async def test_blocks_of_a_fork_are_rolled_back(forking: Forking, blocks: int) -> None:
    world, owner = forking.world, await opened(forking)
    async with through_provider(world) as (indexer, _):
        await dense_slots(forking, owner, 2)
        await forking.catch_up(indexer)
        forking.fork(blocks + 1, lambda dropped: list(dropped)[1::2])
        await forking.catch_up(indexer)
        kept = await deposits(world, owner)
    assert len(kept) < 2 * IN_A_SLOT
    assert await forking.differing() == {}


async def test_a_full_slot_is_applied_in_one_run_and_its_oldest_transactions_first(
    forking: Forking,
) -> None:
    world, owners = forking.world, [await opened(forking) for _ in range(3)]
    count, runs = FIRST_BATCH + 8, list[int]()
    batches = world.metrics.indexing.batches._value.get
    expected = 0

    async def counted() -> bool:
        return int(batches()) >= expected

    async with through_provider(world, batch_size=BATCH) as (indexer, proxy):
        indexer.poll_seconds = 1_000
        async with running(indexer.run):
            for owner in owners:
                proxy.calls.clear()
                expected = int(batches()) + 2
                await forking.act(*((owner, world.deposit(owner, n + 1)) for n in range(count)))
                await until_applied(world)
                # A batch is counted after its commit, which the cursor shows already.
                await until(counted)
                runs.append(calls(proxy)["getSlot"])
                assert batches() == expected
    assert runs[1:] == [1, 1], "the other notices of a slot cause none"
    assert len(await world.outbox("deposit_event")) == 3 * count


async def test_a_notice_of_a_transaction_that_the_list_lacked_causes_another_run(
    forking: Forking,
) -> None:
    world, owner = forking.world, await opened(forking)
    late = NewestMissing(entries=1, times=1)
    async with through_provider(world) as (indexer, proxy):
        indexer.poll_seconds = 1_000
        async with running(indexer.run):
            await dense_slots(forking, owner, 1)
            await until_applied(world)
            proxy.add(late)
            await dense_slots(forking, owner, 1)
            await until_applied(world)
    assert late.struck == 1
    assert len(await world.outbox("deposit_event")) == 2 * IN_A_SLOT
