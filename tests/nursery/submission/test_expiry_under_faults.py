"""Absent submissions, while a provider refuses, lacks or cuts what would prove their end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction

from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import Commitment
from cvms.nursery.submission import expiry_proof
from cvms.nursery.submission.outcome import QUARANTINE_AFTER_BLOCKS
from cvms.store.submissions.submissions import State
from tests.nursery.submission.second_signature import second_signature
from tests.nursery.submission.signed_withdrawals import accept, submission
from tests.nursery.submission.test_expiry_proof import Forgetful, opened
from tests.nursery.world import World, running, until
from tests.provider_proxy import provider
from tests.provider_proxy.call_faults import ErrorAnswer
from tests.provider_proxy.fault import Fault
from tests.provider_proxy.history_faults import EmptyList, Holes, ShortPages
from tests.provider_proxy.request_faults import HttpRefusal, Slow


@asynccontextmanager
async def behind(world: World, *faults: Fault, plain: bool = False) -> AsyncIterator[RpcClient]:
    """Open a client of a provider with faults, with `plain` beside one without."""
    async with provider(world.chain.rpc_url, world.chain.ws_url, *faults) as node:
        urls = [world.chain.rpc_url, node.url] if plain else [node.url]
        async with open_rpc(urls) as rpc:
            yield rpc


@pytest.mark.parametrize(
    "fault",
    [
        HttpRefusal(methods="getBlock", status=403),
        HttpRefusal(methods="getBlocks", status=403),
        HttpRefusal(methods="getSignaturesForAddress", status=403),
        ErrorAnswer(methods="getSignaturesForAddress", code=-32601),
    ],
    ids=["block403", "blocks403", "list403", "list-32601"],
)
async def test_a_refused_method_stops_no_other_submission(paused: World, fault: Any) -> None:
    owner = await opened(paused)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    absent = await accept(paused, owner, paused.deposit(owner, 5), last_valid=height + 1)
    paused.chain.chain.advance(20)
    fresh = await accept(paused, owner, paused.deposit(owner, 6))
    async with behind(paused, fault) as rpc:
        submitter = paused.submitter(rpc=rpc)
        for _ in range(3):
            await submitter.run_once()
            paused.chain.chain.advance(8)
        got = (await submission(paused, fresh)).state
        paused.chain.chain.advance(QUARANTINE_AFTER_BLOCKS)
        await submitter.run_once()
        assert (got, (await submission(paused, absent)).state) == (
            State.FINALIZED,
            State.QUARANTINED,
        )


async def twin_of(world: World, owner: Keypair) -> tuple[str, str]:
    """Return a submission's signature, and the one under which its message has landed."""
    height = await world.rpc.get_block_height(Commitment.CONFIRMED)
    signature = await accept(world, owner, world.deposit(owner, 5), last_valid=height + 3)
    row = await submission(world, signature)
    assert row.wire is not None
    message = VersionedTransaction.from_bytes(row.wire).message
    second = second_signature(owner, to_bytes_versioned(message), nonce=12345)
    await world.rpc.send_transaction(bytes(VersionedTransaction.populate(message, [second])))
    world.chain.chain.advance(20)
    return signature, str(second)


@pytest.mark.parametrize("which", ["getTransaction refused", "getTransaction hole", "empty list"])
async def test_a_twin_that_a_provider_does_not_show(paused: World, which: str) -> None:
    owner = await opened(paused)
    signature, second = await twin_of(paused, owner)
    fault = {
        "getTransaction refused": ErrorAnswer(methods="getTransaction", code=-32601),
        "getTransaction hole": Holes(signatures=[second]),
        "empty list": EmptyList(),
    }[which]
    async with behind(paused, fault) as rpc:
        await paused.submitter(rpc=rpc).run_once()
    assert (await submission(paused, signature)).state is not State.EXPIRED


async def test_a_twin_that_our_tables_hold(paused: World) -> None:
    owner = await opened(paused)
    signature, _ = await twin_of(paused, owner)
    await paused.indexer().catch_up()
    assert await paused.history(owner) == [("deposit", 5, 5)]
    async with behind(paused, EmptyList()) as rpc:
        await paused.submitter(rpc=rpc).run_once()
    assert (await submission(paused, signature)).state is not State.EXPIRED


async def test_a_twin_among_more_than_are_compared_in_our_tables(
    paused: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry_proof, "MAX_TWINS", 3)
    owner = await opened(paused)
    signature, _ = await twin_of(paused, owner)
    for amount in range(10, 20):
        await paused.act(owner, paused.deposit(owner, amount), wait=False)
        paused.chain.chain.advance(1)
    paused.chain.chain.advance(20)
    await paused.indexer().catch_up()
    async with behind(paused, EmptyList()) as rpc:
        await paused.submitter(rpc=rpc).run_once()
    assert (await submission(paused, signature)).state is State.PENDING


async def test_a_twin_before_many_others(paused: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(expiry_proof, "MAX_TWINS", 3)
    owner = await opened(paused)
    signature, _ = await twin_of(paused, owner)
    for amount in range(10, 15):
        await paused.act(owner, paused.deposit(owner, amount), wait=False)
        paused.chain.chain.advance(1)
    paused.chain.chain.advance(20)
    async with behind(paused, ShortPages(entries=3)) as rpc:  # pages of MAX_TWINS or more
        await paused.submitter(rpc=rpc).run_once()
    assert (await submission(paused, signature)).state is not State.EXPIRED


async def test_a_node_that_is_behind_does_not_list_for_a_proof(paused: World) -> None:
    owner = await opened(paused)
    await twin_of(paused, owner)
    seen: list[Any] = []

    class Watch(RpcClient):
        async def get_signatures_for_address(
            self, *args: Any, **kwargs: Any
        ) -> list[SignatureInfo]:
            seen.append(kwargs.get("min_context_slot"))
            return await super().get_signatures_for_address(*args, **kwargs)

    await paused.submitter(rpc=Watch(paused.rpc._transport)).run_once()
    assert seen
    assert None not in seen


async def test_two_that_are_proven_together_need_the_blocks_of_both(paused: World) -> None:
    """A landed, its status is lost; B, which began later, is absent. Both are due at once."""
    owner = await opened(paused)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    landed = await accept(paused, owner, paused.deposit(owner, 5), last_valid=height + 150)
    await paused.submitter().run_once()
    paused.chain.chain.advance(290)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    absent = await accept(paused, owner, paused.deposit(owner, 6), last_valid=height + 150)
    paused.chain.chain.advance(170)
    await paused.submitter(rpc=Forgetful(paused.rpc._transport)).run_once()
    states = [(await submission(paused, each)).state for each in (landed, absent)]
    assert states == [State.SUBMITTED, State.EXPIRED]


async def test_an_endpoint_that_serves_no_statuses_is_no_witness(paused: World) -> None:
    owner = await opened(paused)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    absent = await accept(paused, owner, paused.deposit(owner, 5), last_valid=height + 1)
    paused.chain.chain.advance(20)
    async with behind(
        paused, HttpRefusal(methods="getSignatureStatuses", status=403), plain=True
    ) as rpc:
        await rpc.probe()
        submitter = paused.submitter(rpc=rpc)
        for _ in range(3):
            await submitter.run_once()
        paused.chain.chain.advance(QUARANTINE_AFTER_BLOCKS)
        await submitter.run_once()
        assert (await submission(paused, absent)).state in (State.EXPIRED, State.QUARANTINED)


async def test_a_slow_proof_delays_no_other_submission(paused: World) -> None:
    owner = await opened(paused)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    absent = await accept(paused, owner, paused.deposit(owner, 5), last_valid=height + 140)
    paused.chain.chain.advance(160)
    fresh = await accept(paused, owner, paused.deposit(owner, 6))
    async with behind(paused, Slow(methods="getBlock", seconds=60.0)) as rpc:
        submitter = paused.submitter(rpc=rpc)

        async def sent() -> bool:
            return (await submission(paused, fresh)).state is State.SUBMITTED

        async with running(submitter.run):
            await until(sent)
    assert (await submission(paused, absent)).state is not State.EXPIRED
