"""Slots, commitments, block hashes and the clock."""

from __future__ import annotations

import base64
import time

import pytest
import trio
from based58 import b58decode
from solders.keypair import Keypair

from cvms import localnet
from cvms.errors import RpcError
from tests.localnet.local_node import CONFIRMED, PROCESSED, Node


async def test_slots_tick_by_themselves_and_stop_while_the_clock_is_paused(node: Node) -> None:
    await node.call("surfnet_resumeClock")
    start = await node.call("getSlot", PROCESSED)
    async with node.pubsub() as pubsub:
        await pubsub.call("slotSubscribe")
        while (await pubsub.next())["params"]["result"]["slot"] < start + 3:
            continue
    paused = await node.call("surfnet_pauseClock")
    await trio.sleep(4 * node.running.chain.timing.slot_seconds)
    assert await node.call("getSlot", PROCESSED) == paused["absoluteSlot"]


async def test_confirmed_is_one_slot_and_finalized_four_slots_behind_here(node: Node) -> None:
    tip = node.advance(10)
    slots = [
        await node.call("getSlot", {"commitment": level})
        for level in ("processed", "confirmed", "finalized")
    ]
    assert slots == [tip, tip - 1, tip - 4]
    assert await node.call("getSlot") == tip - 4  # the default is finalized


async def test_the_default_timing_is_a_validators(nursery: trio.Nursery) -> None:
    assert localnet.Timing() == localnet.Timing(slot_seconds=0.4, confirmed_lag=1, finalized_lag=31)


async def test_a_transaction_is_processed_then_confirmed_then_finalized(node: Node) -> None:
    signature = await node.call("requestAirdrop", str(Keypair().pubkey()), 10**9)

    async def status() -> dict[str, object]:
        answer = await node.call("getSignatureStatuses", [signature])
        value: dict[str, object] = answer["value"][0]
        return value

    seen = []
    for _ in range(5):
        now = await status()
        seen.append((now["confirmationStatus"], now["confirmations"]))
        node.advance()
    assert seen == [
        ("processed", 0),
        ("confirmed", 1),
        ("confirmed", 2),
        ("confirmed", 3),
        ("finalized", None),
    ]


async def test_a_balance_is_seen_at_each_commitment_as_of_its_slot(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    await node.pay(payer, payee, 10**9)
    levels = ("processed", "confirmed", "finalized")
    assert [await node.balance(payee, level) for level in levels] == [10**9, 0, 0]
    node.advance()
    assert [await node.balance(payee, level) for level in levels] == [10**9, 10**9, 0]
    await node.pay(payer, payee, 10**9)
    node.advance(2)
    assert [await node.balance(payee, level) for level in levels] == [2 * 10**9, 2 * 10**9, 0]
    node.advance()
    assert await node.balance(payee, "finalized") == 10**9
    node.advance()
    assert await node.balance(payee, "finalized") == 2 * 10**9


async def test_a_block_hash_expires_after_150_blocks(node: Node) -> None:
    payer = await node.wallet()
    latest = (await node.call("getLatestBlockhash", PROCESSED))["value"]
    height = await node.call("getBlockHeight", PROCESSED)
    assert latest["lastValidBlockHeight"] == height + 150
    old = await node.blockhash("processed")
    early = await node.transfer(payer, Keypair().pubkey(), 10**9, blockhash=old)
    late = await node.transfer(payer, Keypair().pubkey(), 2 * 10**9, blockhash=old)

    node.advance(150)
    assert (await node.call("isBlockhashValid", str(old), PROCESSED))["value"] is True
    await node.send(early, preflightCommitment="processed")

    node.advance(1)
    assert (await node.call("isBlockhashValid", str(old), PROCESSED))["value"] is False
    with pytest.raises(RpcError, match="Blockhash not found") as refused:
        await node.send(late, preflightCommitment="processed")
    assert refused.value.code == -32002
    assert refused.value.data["err"] == "BlockhashNotFound"  # type: ignore[index]
    signature = await node.send(late, skipPreflight=True)  # a node drops it without an error
    assert (await node.call("getSignatureStatuses", [signature]))["value"] == [None]


async def test_a_block_hash_is_unknown_at_a_commitment_it_has_not_reached(node: Node) -> None:
    payer = await node.wallet()
    fresh = await node.blockhash("processed")
    transaction = await node.transfer(payer, Keypair().pubkey(), 10**9, blockhash=fresh)
    with pytest.raises(RpcError, match="Blockhash not found"):
        await node.send(transaction, preflightCommitment="confirmed")
    node.advance()
    await node.send(transaction, preflightCommitment="confirmed")


async def test_a_read_below_the_minimum_context_slot_is_refused(node: Node) -> None:
    tip = node.advance(3)
    key = str(Keypair().pubkey())
    at_tip = {"minContextSlot": tip, "commitment": "processed"}
    assert (await node.call("getAccountInfo", key, at_tip))["context"]["slot"] == tip
    for method in ("getAccountInfo", "getBalance", "getSignaturesForAddress"):
        with pytest.raises(RpcError) as refused:
            await node.call(method, key, {"minContextSlot": tip} | CONFIRMED)
        assert refused.value.code == -32016
        assert refused.value.data == {"contextSlot": tip - 1}


async def test_time_travel_moves_the_time_that_programs_and_blocks_see(node: Node) -> None:
    target = int(time.time()) + 86_400
    info = await node.call("surfnet_timeTravel", {"absoluteTimestamp": target * 1000})
    assert await node.call("getBlockTime", info["absoluteSlot"]) == target
    clock = "SysvarC1ock11111111111111111111111111111111"
    answer = await node.call("getAccountInfo", clock, PROCESSED | {"encoding": "base64"})
    data = base64.b64decode(answer["value"]["data"][0])
    assert int.from_bytes(data[32:40], "little") == target
    assert answer["value"]["owner"] == "Sysvar1111111111111111111111111111111111111"
    with pytest.raises(RpcError, match="past"):
        await node.call("surfnet_timeTravel", {"absoluteTimestamp": 1000})


async def test_the_clock_account_is_seen_as_of_each_commitment(node: Node) -> None:
    node.advance(10)
    shown = []
    for level in ("processed", "confirmed", "finalized"):
        config = {"commitment": level, "encoding": "base58"}
        answer = await node.call(
            "getAccountInfo", "SysvarC1ock11111111111111111111111111111111", config
        )
        shown.append((answer["context"]["slot"], answer["value"]["data"][0]))
    assert [slot for slot, _ in shown] == [
        int.from_bytes(b58decode(data.encode())[:8], "little") for _, data in shown
    ]


async def test_travel_to_a_slot_skips_those_between(node: Node) -> None:
    tip = node.advance(3)
    height = await node.call("getBlockHeight", PROCESSED)
    info = await node.call("surfnet_timeTravel", {"absoluteSlot": tip + 1000})
    assert (info["absoluteSlot"], info["blockHeight"]) == (tip + 1000, height + 1)
    node.finalize()
    assert await node.call("getBlocks", tip, tip + 1001, CONFIRMED) == [tip, tip + 1000, tip + 1001]
    with pytest.raises(RpcError, match="was skipped") as skipped:
        await node.call("getBlock", tip + 1)
    assert skipped.value.code == -32007
    block = await node.call("getBlock", tip + 1000)
    assert (block["parentSlot"], block["blockHeight"]) == (tip, height + 1)


async def test_travel_to_an_epoch_starts_it(node: Node) -> None:
    info = await node.call("surfnet_timeTravel", {"absoluteEpoch": 2})
    assert (info["epoch"], info["slotIndex"], info["slotsInEpoch"]) == (2, 0, 432_000)


async def test_a_block_that_is_not_confirmed_is_not_available(node: Node) -> None:
    tip = node.advance(2)
    with pytest.raises(RpcError, match=f"Block not available for slot {tip}") as refused:
        await node.call("getBlock", tip, CONFIRMED)
    assert refused.value.code == -32004
    with pytest.raises(RpcError, match="below `confirmed`"):
        await node.call("getBlock", tip, PROCESSED)


async def test_blocks_form_a_chain(node: Node) -> None:
    node.advance(6)
    first = await node.call("getBlock", 1)
    second = await node.call("getBlock", 2)
    assert second["previousBlockhash"] == first["blockhash"]
    assert first["previousBlockhash"] == await node.call("getGenesisHash")
    assert second["parentSlot"] == 1
