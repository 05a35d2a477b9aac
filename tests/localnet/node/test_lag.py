"""A lagging node: its replies and notifications are those of the chain some blocks ago."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms import localnet
from cvms.errors import RpcError
from cvms.localnet.types import Commitment
from tests.localnet.local_node import BASE64, CONFIRMED, FINALIZED_LAG, PROCESSED, SOL, Node

LAG = 3
LEVELS = ("processed", "confirmed", "finalized")
VERSIONED = CONFIRMED | {"maxSupportedTransactionVersion": 0}


@pytest.fixture
async def late(node: Node, nursery: trio.Nursery) -> AsyncIterator[Node]:
    """A second node of the chain, three blocks behind."""
    faults = localnet.NodeFaults(lag=LAG)
    running: localnet.Running = await nursery.start(
        partial(localnet.serve_node, node.running.chain, faults=faults)
    )
    node.advance(20)
    async with httpx.AsyncClient() as http:
        yield Node(running, http)


async def test_slots_heights_hashes_and_epochs_are_those_of_older_blocks(
    node: Node, late: Node
) -> None:
    for level in LEVELS:
        config = {"commitment": level}
        for method in ("getSlot", "getBlockHeight"):
            assert await late.call(method, config) == await node.call(method, config) - LAG
        info = await late.call("getEpochInfo", config)
        assert info["absoluteSlot"] == await node.call("getSlot", config) - LAG
    fresh, old = await node.blockhash("processed"), await late.blockhash("processed")
    valid = {
        (name, kind): (await each.call("isBlockhashValid", str(blockhash), PROCESSED))["value"]
        for name, each in (("node", node), ("late", late))
        for kind, blockhash in (("fresh", fresh), ("old", old))
    }
    assert [key for key, known in valid.items() if not known] == [("late", "fresh")]


async def test_a_transaction_is_seen_late_by_every_method(node: Node, late: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    node.advance(LAG)
    count = await node.call("getTransactionCount", PROCESSED)
    signature = await node.pay(payer, payee, SOL)
    slot = node.running.chain.tip.slot

    async def seen(at: Node) -> tuple[Any, ...]:
        status = (await at.call("getSignatureStatuses", [signature]))["value"][0]
        found = await at.call("getTransaction", signature, VERSIONED)
        listed = await at.call("getSignaturesForAddress", str(payee), CONFIRMED)
        return (
            status and (status["confirmationStatus"], status["confirmations"]),
            found and found["slot"],
            [(info["signature"], info["confirmationStatus"]) for info in listed],
            [await at.balance(payee, level) for level in LEVELS],
            await at.call("getTransactionCount", PROCESSED) - count,
        )

    shown = []
    for _ in range(FINALIZED_LAG + 1):
        shown.append(await seen(node))
        node.advance()
    assert shown[0] == (("processed", 0), None, [], [SOL, 0, 0], 1)
    assert shown[1][:2] == (("confirmed", 1), slot)
    assert shown[-1][0] == ("finalized", None)
    shown_late = [await seen(late)]
    # The chain has advanced by five blocks, and the late node by two.
    for _ in range(2):
        node.advance()
        shown_late.append(await seen(late))
    assert shown_late == shown[2:]
    assert shown[2][0] == ("confirmed", 2)


async def test_newer_blocks_are_unknown(node: Node, late: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    node.advance(LAG)
    signature = await node.pay(payer, payee, SOL)
    tip = node.advance(LAG - 1)
    assert (await late.call("getSignatureStatuses", [signature]))["value"] == [None]
    assert await late.call("getTransaction", signature, VERSIONED) is None
    assert await late.call("getSignaturesForAddress", str(payee), CONFIRMED) == []
    assert await late.balance(payee) == 0
    counts = [await each.call("getTransactionCount", PROCESSED) for each in (node, late)]
    assert counts[0] == counts[1] + 1
    with pytest.raises(RpcError, match="not available"):
        await late.call("getBlock", tip - 1, CONFIRMED)
    with pytest.raises(RpcError, match="not available"):
        await late.call("getBlockTime", tip)
    fees = [await each.call("getRecentPrioritizationFees") for each in (node, late)]
    assert fees[0][-1]["slot"] > tip - LAG >= fees[1][-1]["slot"]
    for method in ("getAccountInfo", "getSignaturesForAddress"):
        with pytest.raises(RpcError) as refused:
            await late.call(method, str(payee), CONFIRMED | {"minContextSlot": tip - 1})
        assert refused.value.data == {"contextSlot": tip - LAG - 1}


async def test_it_forwards_sends_but_cannot_check_new_block_hashes(node: Node, late: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    node.advance(LAG)
    fresh = await node.transfer(payer, payee, SOL)
    with pytest.raises(RpcError, match="Blockhash not found"):
        await late.send(fresh)
    await late.send(fresh, skipPreflight=True)
    assert (await node.balance(payee), await late.balance(payee)) == (SOL, 0)
    # The late node's preflight does not know yet that the transaction has landed.
    old = await late.transfer(payer, payee, 2 * SOL)
    await node.send(old)
    await late.send(old)
    with pytest.raises(RpcError, match="already been processed"):
        await node.send(old)
    assert await node.balance(payee) == 3 * SOL


async def test_a_node_is_unhealthy_only_if_it_is_far_behind(node: Node, late: Node) -> None:
    assert await late.call("getHealth") == "ok"
    late.running.faults.lag = 129
    with pytest.raises(RpcError, match="Node is behind by 129 slots") as refused:
        await late.call("getHealth")
    assert (refused.value.code, refused.value.data) == (-32005, {"numSlotsBehind": 129})
    health = await late.http.get(f"{late.running.rpc_url}/health")
    assert health.text == "behind { distance: 129 }"
    assert await node.call("getHealth") == "ok"


async def test_reads_go_back_at_once_and_final_blocks_stay_final(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    await node.pay(payer, payee, SOL)
    node.finalize()
    final = await node.call("getSlot")
    await node.pay(payer, payee, SOL)
    node.advance()
    node.running.faults.lag = 2
    assert [await node.balance(payee, level) for level in LEVELS] == [SOL] * 3
    for _ in range(2):
        node.advance()
        assert await node.call("getSlot") == final + 1
        assert await node.balance(payee, "finalized") == SOL
    node.running.faults.lag = 0
    assert await node.balance(payee) == 2 * SOL


async def test_every_view_is_exact_while_lags_change_and_the_chain_forks(
    node: Node, late: Node
) -> None:
    """At each commitment both nodes show the balance of the chain at that height."""
    dice = random.Random(11)
    payer, payee = await node.wallet(1000), Keypair().pubkey()
    node.finalize()
    chain, paid = node.running.chain, {0: 0}  # by height, at its end
    paid = dict.fromkeys(range(chain.tip.height + 1), 0)
    for n in range(90):
        if dice.random() < 0.6:
            await node.pay(payer, payee, SOL // 10 + n)
            paid[chain.tip.height] += SOL // 10 + n
        if dice.random() < 0.1 and (
            most := chain.tip.height - chain.bank(Commitment.FINALIZED).height
        ):
            chain.fork(dice.randint(1, most))
            paid = {height: paid[height] for height in range(chain.tip.height)}
            paid[chain.tip.height] = paid[chain.tip.height - 1]
        elif dice.random() < 0.5:
            height = chain.tip.height + 1
            node.advance()
            paid[height] = paid[height - 1]
        if dice.random() < 0.1:
            late.running.faults.lag = dice.randint(0, 10)
        for each in (node, late):
            for level in LEVELS:
                answer = await each.call("getBalance", str(payee), {"commitment": level})
                block = chain.ledger.block(answer["context"]["slot"])
                assert block is not None
                assert answer["value"] == paid[block.height], (n, level)


# --- subscriptions -----------------------------------------------------------------------------


async def test_a_late_node_sends_every_notification_late_once_and_in_order(
    node: Node, late: Node
) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    node.advance(LAG)
    async with late.pubsub() as slots, late.pubsub() as logs, late.pubsub() as account:
        await slots.call("slotSubscribe")
        await logs.call("logsSubscribe", "all", CONFIRMED)
        await account.call("accountSubscribe", str(payee), BASE64 | PROCESSED)
        start = node.running.chain.tip.slot
        sent = [await node.pay(payer, payee, SOL + n) for n in range(2)]
        tip = node.advance(LAG)
        received = [(await slots.next())["params"]["result"] for _ in range(LAG)]
        assert [each["slot"] for each in received] == [tip - 2 * LAG + 1, tip - LAG - 1, tip - LAG]
        assert received[-1]["root"] == tip - LAG - FINALIZED_LAG
        first = (await account.next())["params"]["result"]
        assert (first["context"]["slot"], first["value"]["lamports"]) == (start, 2 * SOL + 1)
        assert await logs.quiet()
        node.advance()
        for signature in sent:
            assert (await logs.next())["params"]["result"]["value"]["signature"] == signature
        node.advance(5)
        assert await logs.quiet()
        assert await account.quiet()


async def test_no_notification_is_lost_or_repeated_while_a_node_falls_behind_and_catches_up(
    node: Node,
) -> None:
    dice = random.Random(3)
    payer, payee = await node.wallet(100), Keypair().pubkey()
    node.finalize()
    sent: list[str] = []
    levels = (PROCESSED, CONFIRMED, {"commitment": "finalized"})
    async with node.pubsub() as one, node.pubsub() as two, node.pubsub() as three:
        pubsubs = (one, two, three)
        for pubsub, level in zip(pubsubs, levels, strict=True):
            await pubsub.call("logsSubscribe", {"mentions": [str(payee)]}, level)
        for n in range(120):
            node.running.faults.lag = dice.choice((0, 0, 1, 4))
            sent.append(await node.pay(payer, payee, SOL // 10 + n))
            if dice.random() < 0.4:
                node.advance(dice.randint(1, 3))
        node.running.faults.clear()
        node.finalize()
        for pubsub in pubsubs:
            received = [
                (await pubsub.next())["params"]["result"]["value"]["signature"] for _ in sent
            ]
            assert received == sent
            assert await pubsub.quiet()


async def test_a_node_that_falls_behind_in_a_block_notifies_its_rest_late(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    async with node.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", "all", PROCESSED)
        sent = [await node.pay(payer, payee, SOL)]
        node.running.faults.lag = 1
        sent.append(await node.pay(payer, payee, 2 * SOL))
        assert (await pubsub.next())["params"]["result"]["value"]["signature"] == sent[0]
        assert await pubsub.quiet()
        node.advance()
        assert (await pubsub.next())["params"]["result"]["value"]["signature"] == sent[1]


async def test_a_late_node_does_not_notify_of_a_fork_that_it_had_not_reached(
    node: Node, late: Node
) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    node.advance(LAG)
    async with late.pubsub() as logs, late.pubsub() as slots:
        await logs.call("logsSubscribe", "all", PROCESSED)
        await slots.call("slotSubscribe")
        await node.pay(payer, payee, SOL)
        dropped = node.running.chain.tip.slot
        node.running.chain.fork(1)
        kept = await node.pay(payer, payee, 2 * SOL)
        node.advance(LAG)
        assert (await logs.next())["params"]["result"]["value"]["signature"] == kept
        assert await logs.quiet()
        while (received := (await slots.next())["params"]["result"])["slot"] < dropped:
            continue
        assert (received["slot"], received["parent"]) == (dropped + 1, dropped - 1)


async def test_a_late_node_notifies_of_a_signature_when_it_reaches_its_block(
    node: Node, late: Node
) -> None:
    payer = await node.wallet()
    node.advance(LAG)
    signature = await node.pay(payer, Keypair().pubkey(), SOL)
    async with late.pubsub() as pubsub:
        await pubsub.call("signatureSubscribe", signature, CONFIRMED)
        node.advance(LAG)
        assert await pubsub.quiet()
        node.advance()
        assert (await pubsub.next())["method"] == "signatureNotification"
