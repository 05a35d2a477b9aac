"""What explorers ask of a cluster: leaders, rewards, supply, samples, memos."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.keypair import Keypair
from spl.memo.constants import MEMO_PROGRAM_ID

from tests.localnet.local_node import CONFIRMED, PROCESSED, SOL, Node

VERSIONED = CONFIRMED | {"maxSupportedTransactionVersion": 0}


async def test_the_leader_gets_half_of_a_blocks_fees(node: Node) -> None:
    payer = await node.wallet()
    await node.pay(payer, Keypair().pubkey(), SOL)
    slot = node.running.chain.tip.slot
    node.advance()
    [reward] = (await node.call("getBlock", slot, VERSIONED))["rewards"]
    [leader] = await node.call("getSlotLeaders", slot, 1)
    assert (reward["pubkey"], reward["lamports"], reward["rewardType"]) == (leader, 2_500, "Fee")
    node.advance()
    assert (await node.call("getBlock", slot + 1, VERSIONED))["rewards"] == []


async def test_one_validator_leads_votes_and_produces(node: Node) -> None:
    identity = (await node.call("getIdentity"))["identity"]
    node.advance(40)
    tip = node.running.chain.tip.slot
    assert await node.call("getSlotLeader") == identity
    schedule = await node.call("getLeaderSchedule")
    assert (list(schedule), len(schedule[identity])) == ([identity], 432_000)
    assert await node.call("getLeaderSchedule", 10 * 432_000) is None
    [voter] = (await node.call("getVoteAccounts"))["current"]
    assert voter["nodePubkey"] == identity
    production = (await node.call("getBlockProduction", PROCESSED))["value"]
    assert production["byIdentity"] == {identity: [tip + 1, tip + 1]}
    newest = await node.call("getBlockCommitment", tip)
    assert newest["commitment"][0] == newest["totalStake"]
    assert (await node.call("getBlockCommitment", tip + 1))["commitment"] is None
    [known] = await node.call("getClusterNodes")
    assert f"http://{known['rpc']}" == node.running.rpc_url


async def test_the_supply_is_the_sum_of_all_accounts(node: Node) -> None:
    wallet = await node.wallet(7)
    supply = (await node.call("getSupply", PROCESSED))["value"]
    assert supply["total"] == supply["circulating"] > 7 * SOL
    largest = (await node.call("getLargestAccounts", PROCESSED))["value"]
    assert {"address": str(wallet.pubkey()), "lamports": 7 * SOL} in largest
    assert [each["lamports"] for each in largest] == sorted(
        (each["lamports"] for each in largest), reverse=True
    )


async def test_samples_count_transactions_by_the_minute(node: Node) -> None:
    payer = await node.wallet()
    assert await node.call("getRecentPerformanceSamples") == []
    node.running.chain.skip_to(1_200)  # a minute of slots of 50 ms
    await node.pay(payer, Keypair().pubkey(), SOL)
    [sample] = await node.call("getRecentPerformanceSamples", 5)
    assert (sample["slot"], sample["numTransactions"]) == (1_200, 2)


async def test_memos_are_listed_with_their_length(node: Node) -> None:
    payer = await node.wallet()
    memos = [Instruction(MEMO_PROGRAM_ID, text.encode(), []) for text in ("häh", "b")]
    signature = await node.send(await node.signed(payer, memos))
    node.advance()
    [newest, *_] = await node.call("getSignaturesForAddress", str(payer.pubkey()), CONFIRMED)
    assert (newest["signature"], newest["memo"]) == (signature, "[4] häh; [1] b")
    assert newest["transactionIndex"] == 0
