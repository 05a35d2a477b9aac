"""Evidence that a transaction is in no block, from nodes that do not have every block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from solders.keypair import Keypair

from cvms.chain.rpc.evidence.absence_proof import (
    _provider,
    lacks_transaction,
    none_contains,
    proven_absent,
)
from cvms.chain.rpc.evidence.chain_tips import Tip
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.rpc.transport.endpoint_pool import EndpointPool
from cvms.chain.types import BlockHeight, Commitment, Slot
from cvms.localnet.ledger.chain import LocalnetChain
from tests.chain.rpc.scripted_node import Reply, Script, error, nodes, result
from tests.harness.localnet import Localnet

CONFIRMED, FINALIZED = Commitment.CONFIRMED, Commitment.FINALIZED


@pytest.fixture
async def rpc(localnet: Localnet) -> AsyncIterator[RpcClient]:
    async with open_rpc([localnet.rpc_url]) as rpc:
        localnet.running.chain.pause()
        yield rpc


@pytest.fixture
def chain(localnet: Localnet) -> LocalnetChain:
    return localnet.running.chain


async def airdrop(rpc: RpcClient) -> str:
    signature: str = await rpc.call("requestAirdrop", [str(Keypair().pubkey()), 10**9])
    return signature


async def test_a_block_says_what_is_in_it_and_the_next_one_that_a_slot_was_skipped(
    rpc: RpcClient, chain: LocalnetChain
) -> None:
    landed = await airdrop(rpc)
    slot = Slot(chain.tip.slot)
    assert await lacks_transaction(rpc, landed, slot, commitment=FINALIZED) is None, "not yet"
    chain.skip_to(slot + 3)
    chain.advance(6)
    assert await lacks_transaction(rpc, landed, slot, commitment=FINALIZED) is False
    assert await lacks_transaction(rpc, "other", slot, commitment=FINALIZED) is True
    assert await lacks_transaction(rpc, landed, Slot(slot + 1), commitment=FINALIZED) is True


async def test_a_node_without_the_block_proves_nothing(
    rpc: RpcClient, chain: LocalnetChain, localnet: Localnet
) -> None:
    landed = await airdrop(rpc)
    slot = Slot(chain.tip.slot)
    chain.advance(8)
    localnet.running.faults.history.first_slot = slot + 1
    assert await lacks_transaction(rpc, landed, slot, commitment=CONFIRMED) is None
    start, through = Slot(slot - 1), BlockHeight(chain.tip.height - 4)
    assert await none_contains(rpc, ["other"], after=start, through=through) == frozenset()


async def test_every_block_in_question_is_read(rpc: RpcClient, chain: LocalnetChain) -> None:
    start, height = Slot(chain.tip.slot - 1), chain.tip.height
    landed = await airdrop(rpc)
    chain.skip_to(chain.tip.slot + 40)
    later = await airdrop(rpc)
    chain.advance(30)
    found = await none_contains(
        rpc, [landed, later, "other"], after=start, through=BlockHeight(height + 20)
    )
    assert found == {"other"}
    before = await none_contains(rpc, [later, "other"], after=start, through=BlockHeight(height))
    assert before == {later, "other"}, "it landed after the blocks in question"
    not_final = BlockHeight(chain.tip.height - 2)
    assert await none_contains(rpc, ["other"], after=start, through=not_final) == frozenset()


class Ledger:
    """A node with these blocks, of which it may lack some or give a wrong one."""

    def __init__(self, *, missing: int | None = None, forked: int | None = None) -> None:
        self.missing, self.forked = missing, forked

    async def __call__(self, request: Any) -> Reply:
        if isinstance(request, list):
            bodies = [(await self(each)).body for each in request]
            return Reply(b"[" + b",".join(bodies) + b"]")
        first, *rest = request["params"]
        if request["method"] == "getBlocks":
            listed = range(max(first, 1), min(rest[0], 30) + 1)
            return result(request, [slot for slot in listed if slot != self.missing])
        if first == self.missing:
            return error(request, -32007, f"Slot {first} was skipped, or missing in storage")
        fork = "f" if first == self.forked else "b"
        block = {
            "blockhash": f"{fork}{first}",
            "previousBlockhash": f"b{first - 1}",
            "parentSlot": first - 1,
            "blockHeight": first,
            "signatures": [f"s{first}"],
        }
        return result(request, block)


@pytest.mark.parametrize(
    ("scripts", "proven"),
    [
        ([Ledger()], True),
        ([Ledger(missing=7)], False),
        ([Ledger(missing=3)], False),
        ([Ledger(forked=7)], False),
        ([Ledger(missing=7), Ledger()], True),
    ],
    ids=["whole", "a hole", "the first block missing", "a block of another fork", "two nodes"],
)
async def test_a_hole_or_a_block_of_another_fork_leaves_room_for_the_transaction(
    scripts: list[Script], proven: bool
) -> None:
    async with nodes(*scripts) as started, open_rpc([node.url for node in started]) as rpc:
        found = await none_contains(rpc, ["x"], after=Slot(2), through=BlockHeight(19))
        assert found == ({"x"} if proven else frozenset())


async def test_a_slot_that_a_node_calls_skipped_though_the_next_block_follows_it() -> None:
    async with nodes(Ledger(missing=7)) as [node], open_rpc([node.url]) as rpc:
        assert await lacks_transaction(rpc, "x", Slot(7), commitment=CONFIRMED) is None
        assert await lacks_transaction(rpc, "x", Slot(8), commitment=CONFIRMED) is True


async def test_of_a_long_time_only_the_blocks_in_which_a_blockhash_is_valid_are_read() -> None:
    """A proposal may be a day older than its transaction."""

    class Long(Ledger):
        async def __call__(self, request: Any) -> Reply:
            if isinstance(request, dict):
                if request["method"] not in ("getBlock", "getBlocks"):
                    return error(request, -32601)
                first, *rest = request["params"]
                if request["method"] == "getBlocks":
                    return result(request, list(range(first, min(rest[0], 100_000) + 1)))
                asked.append(first)
            return await super().__call__(request)

    asked: list[int] = []
    async with nodes(Long()) as [node], open_rpc([node.url]) as rpc:
        found = await proven_absent(
            rpc,
            ["x", "s99900"],
            after=Slot(5),
            through=BlockHeight(99_950),
            tip=Tip(Slot(100_000), BlockHeight(100_000)),
        )
    assert found == {"x"}
    assert len(asked) < 400


class Node:
    """A node that serves no blocks: its first block, its slot and the statuses that it knows."""

    def __init__(self, *, first: int = 0, slot: int = 500, knows: str = "") -> None:
        self.first, self.slot, self.knows = first, slot, knows

    async def __call__(self, request: Any) -> Reply:
        if request["method"] == "getFirstAvailableBlock":
            return result(request, self.first)
        if request["method"] != "getSignatureStatuses":
            return error(request, -32601)
        status = {"slot": 7, "confirmations": None, "err": None, "status": {"Ok": None}}
        values = [status if each == self.knows else None for each in request["params"][0]]
        return result(request, {"context": {"slot": self.slot}, "value": values})


@pytest.mark.parametrize(
    ("scripts", "proven"),
    [
        ([Node(), Node()], True),
        ([Node(), Node(), Node(slot=1)], True),
        ([Node()], False),
        ([Node(), Node(first=6)], False),
        ([Node(), Node(slot=499)], False),
        ([Node(), Node(), Node(knows="x")], False),
    ],
    ids=["two", "two of three", "one", "one that pruned", "one behind", "one that knows it"],
)
async def test_two_endpoints_that_would_know_the_transaction_are_proof(
    scripts: list[Script], proven: bool
) -> None:
    async with nodes(*scripts) as started, open_rpc([node.url for node in started]) as rpc:
        found = await proven_absent(
            rpc,
            ["x"],
            after=Slot(5),
            through=BlockHeight(160),
            tip=Tip(Slot(500), BlockHeight(500)),
        )
        assert found == ({"x"} if proven else frozenset())


async def test_two_urls_of_one_provider_are_one_reading() -> None:
    async with nodes(Node()) as [node], open_rpc([node.url, f"{node.url}/other"]) as rpc:
        tip = Tip(Slot(500), BlockHeight(500))
        through = BlockHeight(160)
        assert await proven_absent(rpc, ["x"], after=Slot(5), through=through, tip=tip) == set()


class EveryBlock:
    """A node with a block in each slot but some, as high as its slot, with one transaction."""

    def __init__(self, *skipped: int) -> None:
        self.skipped = skipped

    async def __call__(self, request: Any) -> Reply:
        if isinstance(request, list):
            bodies = [(await self(each)).body for each in request]
            return Reply(b"[" + b",".join(bodies) + b"]")
        if request["method"] not in ("getBlock", "getBlocks"):
            return error(request, -32601)
        slot, *rest = request["params"]
        if request["method"] == "getBlocks":
            return result(request, [n for n in range(slot, rest[0] + 1) if n not in self.skipped])
        if slot in self.skipped:
            return error(request, -32007, "Slot was skipped, or missing")
        parent = next(n for n in range(slot - 1, -1, -1) if n not in self.skipped)
        block = {
            "blockhash": f"b{slot}",
            "previousBlockhash": f"b{parent}",
            "parentSlot": parent,
            "blockHeight": slot,
            "signatures": [f"s{slot}"],
        }
        return result(request, block)


async def test_the_blocks_of_the_older_of_two_transactions_are_read_too() -> None:
    async with nodes(EveryBlock()) as [node], open_rpc([node.url]) as rpc:
        found = await proven_absent(
            rpc,
            ["s1010", "x"],
            after=Slot(1000),
            through=BlockHeight(1440),
            oldest=BlockHeight(1150),
            tip=Tip(Slot(1445), BlockHeight(1445)),
        )
    assert found == {"x"}


async def test_a_block_that_is_its_own_parent_proves_nothing() -> None:
    async def script(request: Any) -> Reply:
        if isinstance(request, list):
            bodies = [(await script(each)).body for each in request]
            return Reply(b"[" + b",".join(bodies) + b"]")
        slot = request["params"][0]
        if request["method"] == "getBlocks":
            return result(request, [slot + 7])
        block = {
            "blockhash": "b",
            "previousBlockhash": "b",
            "parentSlot": slot,
            "blockHeight": slot,
        }
        return result(request, block | {"signatures": []})

    async with nodes(script) as [node], open_rpc([node.url]) as rpc:
        found = await none_contains(rpc, ["x"], after=Slot(2), through=BlockHeight(19))
        assert found == frozenset()
        assert len(node.requests) < 10


async def test_a_slot_among_many_skipped_ones_is_proven_by_the_next_block() -> None:
    async with nodes(EveryBlock(*range(101, 160))) as [node], open_rpc([node.url]) as rpc:
        assert await lacks_transaction(rpc, "x", Slot(101), commitment=CONFIRMED) is True


async def test_a_provider_that_refuses_blocks_proves_nothing() -> None:
    refusing = Node()

    async def script(request: Any) -> Reply:
        reply = await refusing(request) if isinstance(request, dict) else Reply(status=403)
        return Reply(b"Forbidden", status=403) if b"-32601" in reply.body else reply

    async with nodes(script) as [node], open_rpc([node.url]) as rpc:
        tip, through = Tip(Slot(500), BlockHeight(500)), BlockHeight(160)
        assert await proven_absent(rpc, ["x"], after=Slot(5), through=through, tip=tip) == set()


async def test_a_standard_port_makes_no_other_provider() -> None:
    urls = ["https://rpc.example/key1", "https://rpc.example:443/key2"]
    pool = EndpointPool(urls, clock=lambda: 0.0)
    assert len({_provider(each) for each in pool.all()}) == 1


async def test_an_endpoint_that_serves_no_statuses_does_not_hide_the_others() -> None:
    async def refuses(_: Any) -> Reply:
        return Reply(b"not in your plan", status=403)

    scripts = (Node(), Node(), refuses)
    async with nodes(*scripts) as started, open_rpc([node.url for node in started]) as rpc:
        seen = await rpc.statuses_everywhere(["x"], min_context_slot=Slot(400))
        assert seen.slot == 500
