"""Hostile input: a client gets a node's error, and the chain continues."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.localnet.rpc.method_table import METHODS
from tests.localnet.local_node import BASE64, SOL, Node, wire

KNOWN = {-32700, -32002, -32004, -32007, -32008, -32009, -32015, -32016, -32600, -32602}
ROUNDS = 20
SEEDS = (1, 2)

SETTINGS = (
    "commitment", "encoding", "dataSlice", "filters", "minContextSlot", "limit", "before", "until",
    "accounts", "mint", "programId", "sigVerify", "maxSupportedTransactionVersion", "amount",
    "transactionDetails", "absoluteSlot", "lamports", "data", "owner", "delegate", "state",
)  # fmt: skip


def odd_value(dice: random.Random, depth: int = 0) -> Any:
    """Return a random JSON value to use as a parameter."""
    leaves = [
        None, True, -1, 0, 1, 5.5, 2**63, 2**64, 10**30, "", "x", "processed", "base64", "null",
        "all", "json", "jsonParsed", "1" * 32, "1" * 88, "ff", "\ud83d", TOKEN,
        str(Keypair().pubkey()),
    ]  # fmt: skip
    kind = dice.random()
    if depth > 2 or kind < 0.6:
        return dice.choice(leaves)
    if kind < 0.75:
        return [odd_value(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(SETTINGS): odd_value(dice, depth + 1) for _ in range(dice.randrange(4))}


TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"


@pytest.mark.parametrize("seed", SEEDS)
async def test_odd_parameters_never_cause_an_internal_error(node: Node, seed: int) -> None:
    dice = random.Random(seed)
    names = [name for name in METHODS if name != "surfnet_resumeClock"]
    for name in names:
        for _ in range(ROUNDS):
            params = [odd_value(dice) for _ in range(dice.randrange(5))]
            reply = await node.reply(name, *params)
            code = reply.get("error", {}).get("code")
            assert code is None or code in KNOWN, (name, params, reply)
    assert await node.call("getHealth") == "ok"


@pytest.mark.parametrize("seed", SEEDS)
async def test_broken_bytes_of_transactions_never_cause_an_internal_error(
    node: Node, seed: int
) -> None:
    dice = random.Random(seed)
    payer = await node.wallet(100)
    for _ in range(150):
        good = bytearray(bytes(await node.transfer(payer, Keypair().pubkey(), SOL // 100)))
        for _ in range(dice.randrange(1, 4)):
            good[dice.randrange(len(good))] = dice.randrange(256)
        text = base64.b64encode(bytes(good[: dice.choice([len(good), dice.randrange(300)])]))
        config = BASE64 | {"skipPreflight": dice.random() < 0.5}
        for method in ("sendTransaction", "simulateTransaction"):
            reply = await node.reply(method, text.decode(), config)
            code = reply.get("error", {}).get("code")
            assert code is None or code in KNOWN, (text, reply)


@pytest.mark.parametrize("seed", SEEDS)
async def test_odd_instructions_of_builtin_programs_never_stop_the_chain(
    node: Node, seed: int
) -> None:
    """Signed transactions with random data and accounts. The chain's balances still agree."""
    dice = random.Random(seed)
    payer = await node.wallet(100)
    programs = [
        Pubkey.from_string(text)
        for text in (
            "11111111111111111111111111111111",
            TOKEN,
            "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL",
            "ComputeBudget111111111111111111111111111111",
            "AddressLookupTab1e1111111111111111111111111",
            "BPFLoaderUpgradeab1e11111111111111111111111",
            "Stake11111111111111111111111111111111111111",
            "Vote111111111111111111111111111111111111111",
            "Ed25519SigVerify111111111111111111111111111",
        )
    ]
    keys = [*programs, payer.pubkey(), Keypair().pubkey(), await node.mint()]
    for _ in range(150):
        metas = [
            AccountMeta(key, is_signer=key == payer.pubkey(), is_writable=dice.random() < 0.5)
            for key in dice.choices(keys, k=dice.randrange(6))
        ]
        data = bytes([dice.randrange(16)]) + dice.randbytes(dice.randrange(60))
        message = MessageV0.try_compile(
            payer.pubkey(),
            [Instruction(dice.choice(programs), data, metas)],
            [],
            await node.blockhash("processed"),
        )
        transaction = VersionedTransaction(message, [payer])
        reply = await node.reply(
            "sendTransaction", wire(transaction), BASE64 | {"skipPreflight": True}
        )
        if "error" in reply:  # a compute budget that cannot be read, before anything runs
            assert reply["error"]["message"].startswith("invalid transaction: Error processing")
        node.advance(dice.random() < 0.1)
    balance = await node.balance(payer.pubkey())
    assert balance == node.running.chain.vm.lamports(payer.pubkey())
