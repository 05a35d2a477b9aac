"""The evidence of what became of a submission, from every endpoint and from the books."""

from __future__ import annotations

from typing import get_args

import pytest
from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction

from cvms.chain.rpc.rpc_client import open_rpc
from cvms.errors import NotFound
from cvms.localnet.node.faults import Fail
from cvms.settlement.evidence import Outcome
from cvms.settlement.gathering import find
from tests.nursery.submission.second_signature import second_signature
from tests.nursery.submission.signed_withdrawals import submission
from tests.nursery.world import World, address
from tests.settlement.quarantined import evidence_of, opened, quarantined


async def test_one_that_has_landed_is_seen_by_the_endpoint_its_block_and_the_index(
    world: World,
) -> None:
    signature = await quarantined(world, await opened(world), lands=True)
    await world.indexer().catch_up()
    await world.finalizer().run_once()
    found = await evidence_of(world, signature)
    [endpoint] = found.endpoints
    assert endpoint.status is not None
    assert endpoint.blocks is not None
    assert (endpoint.status.commitment, endpoint.status.error) == ("finalized", None)
    assert endpoint.blocks.containing_slot == endpoint.status.slot
    assert endpoint.error is None
    event = found.events[0]
    assert (event.name, event.slot) == ("DepositEvent", endpoint.status.slot)
    assert found.indexed_through is not None
    assert found.indexed_through >= event.slot
    assert found.suggested == "finalized"
    assert found.contradictions.finalized == []
    assert "succeeded" in found.contradictions.failed[0]
    assert "succeeded" in found.contradictions.expired[0]


async def test_one_that_is_in_none_of_all_blocks_has_expired(world: World) -> None:
    signature = await quarantined(world, await opened(world), lands=False)
    found = await evidence_of(world, signature)
    [endpoint] = found.endpoints
    assert endpoint.blocks is not None
    assert (endpoint.status, endpoint.blocks.containing_slot) == (None, None)
    assert endpoint.blocks.complete
    assert endpoint.blocks.count >= 3
    assert (found.suggested, found.contradictions.expired) == ("expired", [])
    assert found.contradictions.finalized == [
        "no endpoint knows the transaction, and the index has no event of it"
    ]


async def test_without_all_blocks_nothing_is_suggested(world: World) -> None:
    signature = await quarantined(world, await opened(world), lands=False)
    world.chain.faults.history.first_slot = world.chain.chain.tip.slot - 5
    found = await evidence_of(world, signature)
    [endpoint] = found.endpoints
    assert endpoint.blocks is not None
    assert not endpoint.blocks.complete
    assert endpoint.first_slot == world.chain.faults.history.first_slot
    assert (found.suggested, found.contradictions.expired) == ("unknown", [])


async def test_an_endpoint_that_does_not_answer_says_nothing(world: World) -> None:
    signature = await quarantined(world, await opened(world), lands=True)
    world.chain.faults.rpc.append(Fail(methods=["getSignatureStatuses"], code=-32601))
    async with open_rpc(["http://127.0.0.1:1"], timeout=1.0) as nobody:
        found = await evidence_of(world, signature, nobody)
    assert [each.slot for each in found.endpoints] == [None]
    assert found.endpoints[0].error is not None
    assert found.contradictions.expired == [
        "no endpoint has answered, so nothing shows that it has not landed"
    ]
    async with open_rpc([world.chain.rpc_url, "http://127.0.0.1:1"], timeout=1.0) as one:
        found = await evidence_of(world, signature, one)
    assert len(found.endpoints) == 2
    assert found.suggested == "unknown"


async def test_one_that_failed_is_seen_as_failed(world: World) -> None:
    owner = await opened(world)
    signature = await quarantined(world, owner, lands=True, amount=2**40)
    found = await evidence_of(world, signature)
    assert found.endpoints[0].status is not None
    assert found.endpoints[0].status.error is not None
    assert (found.suggested, found.contradictions.failed) == ("failed", [])


async def test_one_that_is_not_final_speaks_against_every_outcome(world: World) -> None:
    signature = await quarantined(world, await opened(world), lands=True, finalized=False)
    found = await evidence_of(world, signature)
    for outcome in get_args(Outcome):
        against = found.contradictions.to(outcome)
        assert [each.rpartition(", ")[2] for each in against] == ["which is not final yet"]
    assert found.suggested == "unknown"


async def test_a_second_signature_of_the_message_is_found_among_the_owners_movements(
    world: World,
) -> None:
    owner = await opened(world)
    signature = await quarantined(world, owner, lands=False)
    row = await submission(world, signature)
    assert row.wire is not None
    message = VersionedTransaction.from_bytes(row.wire).message
    second = second_signature(owner, to_bytes_versioned(message), nonce=12345)
    await world.rpc.send_transaction(bytes(VersionedTransaction.populate(message, [second])))
    await world.act(owner, world.deposit(owner, 7), wait=False)
    world.chain.chain.advance(20)
    await world.indexer().catch_up()
    await world.finalizer().run_once()
    found = await evidence_of(world, signature)
    assert [(each.amount, each.same_message) for each in found.movements] == [(5, True), (7, False)]
    assert found.movements[0].signature == str(second)
    assert found.suggested == "finalized"


async def test_it_is_found_by_its_signature_and_by_its_id(world: World) -> None:
    owner = await opened(world)
    signature = await quarantined(world, owner, lands=False)
    row = await find(world.database, signature)
    assert (row.owner, row.kind) == (address(owner), "deposit")
    assert (await find(world.database, row.message_hash.hex())).signature == signature
    for key in ("x", "f" * 64, "g" * 64, "", "a\0b", "\u0661"):
        with pytest.raises(NotFound):
            await find(world.database, key)
