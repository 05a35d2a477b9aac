"""Faults of history: pruned blocks, missing transactions, truncated logs."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.errors import RpcError
from cvms.localnet.node.log_limit import truncate_logs
from tests.localnet.local_node import BASE64, CONFIRMED, PROCESSED, SOL, Node, wire

VERSIONED = CONFIRMED | {"maxSupportedTransactionVersion": 0}
SEARCH = {"searchTransactionHistory": True}


async def listed(node: Node, key: Pubkey, **config: object) -> list[str]:
    infos = await node.call("getSignaturesForAddress", str(key), CONFIRMED | config)
    return [info["signature"] for info in infos]


async def test_signatures_are_listed_newest_first_by_slot_and_index(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    sent = []
    for n in range(6):
        sent.append(await node.pay(payer, payee, SOL // 10 + n))
        node.advance(n % 2)
    node.advance()
    assert await listed(node, payee) == sent[::-1]
    assert await listed(node, payee, before=sent[4], until=sent[1]) == [sent[3], sent[2]]


async def test_a_pruned_node_does_not_know_earlier_slots(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    forgotten = await node.pay(payer, payee, SOL)
    slot = node.running.chain.tip.slot
    node.advance()
    kept = [await node.pay(payer, payee, SOL + n) for n in range(2)]
    node.finalize()
    node.running.faults.history.first_slot = slot + 1

    assert await listed(node, payee) == kept[::-1]
    for cursor in ({"before": forgotten}, {"until": forgotten}):
        with pytest.raises(RpcError, match=f"Transaction {forgotten} not found") as refused:
            await listed(node, payee, **cursor)
        assert refused.value.code == -32020
    assert await node.call("getTransaction", forgotten, VERSIONED) is None
    answer = await node.call("getSignatureStatuses", [forgotten, kept[0]], SEARCH)
    assert [status and status["slot"] for status in answer["value"]] == [None, slot + 1]
    with pytest.raises(RpcError, match=f"First available block: {slot + 1}") as refused:
        await node.call("getBlock", slot)
    assert refused.value.code == -32001
    for method in ("getFirstAvailableBlock", "minimumLedgerSlot"):
        assert await node.call(method) == slot + 1
    assert (await node.call("getBlocks", 0))[0] == slot + 1
    assert await node.balance(payee) == 3 * SOL + 1  # accounts are not pruned

    node.running.faults.clear()
    assert await listed(node, payee) == [*kept[::-1], forgotten]


async def test_older_nodes_ignore_an_unknown_cursor_or_list_nothing(node: Node) -> None:
    payer, payee, unknown = await node.wallet(), Keypair().pubkey(), str(Signature.default())
    sent = await node.pay(payer, payee, SOL)
    node.advance()
    for cursor in ({"before": unknown}, {"until": unknown}):
        node.running.faults.history.unknown_cursor = "newest"
        assert await listed(node, payee, **cursor) == [sent]
        node.running.faults.history.unknown_cursor = "empty"
        assert await listed(node, payee, **cursor) == []


async def test_a_cursor_above_the_commitment_is_unknown(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    cursor = await node.pay(payer, payee, SOL)
    node.advance()
    assert await listed(node, payee, until=cursor) == []
    with pytest.raises(RpcError, match="not found"):
        await listed(node, payee, until=cursor, commitment="finalized")


async def test_a_listed_transaction_is_not_found_for_a_while(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    old = await node.pay(payer, payee, SOL)
    node.advance(3)
    signature = await node.pay(payer, payee, SOL)
    node.advance()
    missing = node.running.faults.history
    missing.missing, missing.missing_blocks = 1.0, 3
    assert await listed(node, payee) == [signature, old]
    assert await node.call("getTransaction", signature, VERSIONED) is None
    assert await node.call("getTransaction", old, VERSIONED) is not None
    node.advance(2)
    assert await node.call("getTransaction", signature, VERSIONED) is not None


async def test_a_repeated_call_may_find_it(node: Node) -> None:
    payer = await node.wallet()
    signature = await node.pay(payer, Keypair().pubkey(), SOL)
    node.advance()
    node.running.faults.history.missing = 0.5
    found = [await node.call("getTransaction", signature, VERSIONED) for _ in range(30)]
    assert 5 < found.count(None) < 25


# --- logs and inner instructions ---------------------------------------------------------------


async def test_logs_over_the_limit_are_truncated_wherever_they_are_shown(node: Node) -> None:
    payer = await node.wallet()
    steps = [await node.transfer(payer, Keypair().pubkey(), SOL // 10 + n) for n in range(2)]
    async with node.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", "all", PROCESSED)
        await node.send(steps[0])
        whole = (await pubsub.next())["params"]["result"]["value"]["logs"]
        assert len(whole) == 2
        node.running.faults.history.log_bytes = len(whole[0]) + 1
        cut = [whole[0], "Log truncated"]
        simulated = await node.call("simulateTransaction", wire(steps[1]), BASE64 | CONFIRMED)
        assert simulated["value"]["logs"] == cut
        signature = await node.send(steps[1])
        assert (await pubsub.next())["params"]["result"]["value"]["logs"] == cut
    node.finalize()
    found = await node.call("getTransaction", signature, VERSIONED)
    assert found["meta"]["logMessages"] == cut
    block = await node.call("getBlock", found["slot"], VERSIONED)
    assert block["transactions"][-1]["meta"]["logMessages"] == cut
    node.running.faults.clear()
    found = await node.call("getTransaction", signature, VERSIONED)
    assert found["meta"]["logMessages"] == whole


def test_shorter_lines_that_still_fit_follow_the_truncation_mark() -> None:
    lines = ["12345", "a line of twenty bytes", "678", "90", "and another that is too long"]
    assert truncate_logs(lines, 10) == ["12345", "Log truncated", "678"]
    assert truncate_logs(lines, 1000) == lines
    assert truncate_logs(["12345"], 5) == ["Log truncated"]  # a length equal to the limit
    assert truncate_logs(["ääää"], 8) == ["Log truncated"]  # the limit is in bytes
    assert truncate_logs([], 0) == []


async def test_inner_instructions_that_were_not_recorded_are_null(node: Node) -> None:
    payer = await node.wallet()
    transaction = await node.transfer(payer, Keypair().pubkey(), SOL)
    node.running.faults.history.no_inner_instructions = True
    config = BASE64 | CONFIRMED | {"innerInstructions": True}
    simulated = await node.call("simulateTransaction", wire(transaction), config)
    assert simulated["value"]["innerInstructions"] is None
    signature = await node.send(transaction)
    node.advance()
    for encoding in ("json", "jsonParsed", "base64"):
        found = await node.call("getTransaction", signature, VERSIONED | {"encoding": encoding})
        assert found["meta"]["innerInstructions"] is None
    node.running.faults.clear()
    found = await node.call("getTransaction", signature, VERSIONED)
    assert found["meta"]["innerInstructions"] == []
