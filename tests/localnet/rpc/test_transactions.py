"""Sending, simulating and reading transactions."""

from __future__ import annotations

import base64

import pytest
from based58 import b58decode
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from cvms.errors import RpcError
from tests.localnet.local_node import BASE64, CONFIRMED, PROCESSED, SOL, Node, wire

MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
FULL = {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}


async def test_a_transfer_moves_lamports_and_takes_the_fee(node: Node) -> None:
    payer, payee = await node.wallet(10), Keypair().pubkey()
    signature = await node.send(await node.transfer(payer, payee, 3 * SOL))
    assert await node.balance(payee) == 3 * SOL
    assert await node.balance(payer.pubkey()) == 7 * SOL - 5000
    node.advance()
    found = await node.call("getTransaction", signature, FULL)
    meta = found["meta"]
    assert (meta["err"], meta["fee"]) == (None, 5000)
    assert meta["preBalances"][:2] == [10 * SOL, 0]
    assert meta["postBalances"][:2] == [7 * SOL - 5000, 3 * SOL]
    assert meta["logMessages"][-1] == "Program 11111111111111111111111111111111 success"
    assert meta["computeUnitsConsumed"] == 150


async def test_preflight_refuses_a_failing_transaction_with_a_validators_texts(node: Node) -> None:
    payer = await node.wallet(1)
    transaction = await node.transfer(payer, Keypair().pubkey(), 5 * SOL)
    with pytest.raises(RpcError) as refused:
        await node.send(transaction)
    assert refused.value.code == -32002
    assert refused.value.message == (
        "Transaction simulation failed: Error processing Instruction 0: custom program error: 0x1"
    )
    data = refused.value.data
    assert isinstance(data, dict)
    assert data["err"] == {"InstructionError": [0, {"Custom": 1}]}
    assert "Transfer: insufficient lamports" in data["logs"][1]
    assert data["unitsConsumed"] == 150
    assert data["accounts"] is None
    assert await node.balance(payer.pubkey()) == 1 * SOL


async def test_without_preflight_a_failed_transaction_only_pays_its_fee(
    node: Node,
) -> None:
    payer, payee = await node.wallet(1), Keypair().pubkey()
    pay = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payee, lamports=SOL // 2)
    too_much = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payee, lamports=9 * SOL)
    transaction = await node.signed(payer, [transfer(pay), transfer(too_much)])
    signature = await node.send(transaction, skipPreflight=True)
    assert await node.balance(payer.pubkey()) == SOL - 5000
    assert await node.balance(payee) == 0
    (status,) = (await node.call("getSignatureStatuses", [signature]))["value"]
    assert status["err"] == {"InstructionError": [1, {"Custom": 1}]}
    assert status["status"] == {"Err": {"InstructionError": [1, {"Custom": 1}]}}


async def test_a_transaction_whose_fee_cannot_be_paid_is_dropped(node: Node) -> None:
    poor = Keypair()
    transaction = await node.transfer(poor, Keypair().pubkey(), 1)
    with pytest.raises(RpcError, match="found no record of a prior credit"):
        await node.send(transaction)
    signature = await node.send(transaction, skipPreflight=True)
    assert (await node.call("getSignatureStatuses", [signature]))["value"] == [None]


async def test_a_repeated_transaction_has_no_second_effect(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    transaction = await node.transfer(payer, payee, SOL)
    first = await node.send(transaction)
    assert await node.send(transaction, skipPreflight=True) == first
    with pytest.raises(RpcError, match="This transaction has already been processed") as refused:
        await node.send(transaction)
    assert refused.value.data["err"] == "AlreadyProcessed"  # type: ignore[index]
    assert await node.balance(payee) == SOL


async def test_a_wrong_signature_changes_nothing(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    good = await node.transfer(payer, payee, SOL)
    forged = VersionedTransaction.populate(
        good.message, [Keypair().sign_message(to_bytes_versioned(good.message))]
    )
    with pytest.raises(RpcError, match="did not pass signature verification") as refused:
        await node.send(forged)
    assert refused.value.code == -32002
    await node.send(forged, skipPreflight=True)
    assert await node.balance(payee) == 0


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        ("!!!", "base64", "invalid base64 encoding"),
        ("0OIl", "base58", "invalid base58 encoding"),
        (base64.b64encode(b"junk").decode(), "base64", "failed to deserialize"),
        ("A" * 1700, "base64", "too large: 1700 bytes"),
        ("AAAA", "json", "unsupported encoding: json"),
    ],
)
async def test_invalid_transaction_bytes_are_refused(
    node: Node, text: str, encoding: str, words: str
) -> None:
    for method in ("sendTransaction", "simulateTransaction"):
        with pytest.raises(RpcError, match=words) as refused:
            await node.call(method, text, {"encoding": encoding})
        assert refused.value.code == -32602


async def test_what_cannot_be_sanitized_is_refused_before_it_runs(node: Node) -> None:
    payer, payee, wallet = await node.wallet(), Keypair().pubkey(), Keypair().pubkey()
    await node.pay(payer, wallet, SOL)
    node.finalize()
    pay = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payee, lamports=1))
    budget = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
    refused = {
        "invalid instruction data": await node.signed(payer, [Instruction(budget, b"\xff", [])]),
        "duplicate instruction": await node.signed(payer, [set_compute_unit_limit(9)] * 2),
    }
    for table, words in ((Keypair().pubkey(), "doesn't exist"), (wallet, "invalid owner")):
        lookup = AddressLookupTableAccount(table, [payee])
        message = MessageV0.try_compile(payer.pubkey(), [pay], [lookup], await node.blockhash())
        refused[words] = VersionedTransaction(message, [payer])
    for words, transaction in refused.items():
        for method in ("sendTransaction", "simulateTransaction"):
            with pytest.raises(RpcError, match=f"invalid transaction: .*{words}") as failed:
                await node.call(method, wire(transaction), BASE64)
            assert failed.value.code == -32602


async def test_simulation_has_no_effect(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    transaction = await node.transfer(payer, payee, SOL)
    wanted = {"accounts": {"addresses": [str(payee)], "encoding": "base64"}}
    answer = await node.call("simulateTransaction", wire(transaction), BASE64 | CONFIRMED | wanted)
    assert answer["value"]["err"] is None
    assert answer["value"]["unitsConsumed"] == 150
    assert answer["value"]["accounts"][0]["lamports"] == SOL
    assert await node.balance(payee) == 0


async def test_simulation_runs_on_the_accounts_of_its_commitment(node: Node) -> None:
    payer, payee = await node.wallet(10), Keypair()
    await node.pay(payer, payee.pubkey(), 2 * SOL)
    spend = await node.transfer(
        payee, payer.pubkey(), SOL, blockhash=await node.blockhash("finalized")
    )
    outcomes = {}
    for level in ("processed", "finalized"):
        config = BASE64 | {"commitment": level}
        answer = await node.call("simulateTransaction", wire(spend), config)
        outcomes[level] = answer["value"]["err"]
    assert outcomes == {"processed": None, "finalized": "AccountNotFound"}
    # The virtual machine itself keeps the current accounts.
    assert node.running.chain.vm.lamports(payee.pubkey()) == 2 * SOL
    await node.pay(payee, payer.pubkey(), SOL)
    assert await node.balance(payee.pubkey()) == SOL - 5000


async def test_simulation_can_replace_the_block_hash_and_check_signatures(node: Node) -> None:
    payer = await node.wallet()
    stale = await node.transfer(payer, Keypair().pubkey(), SOL, blockhash=Hash.default())
    answer = await node.call("simulateTransaction", wire(stale), BASE64)
    assert answer["value"]["err"] == "BlockhashNotFound"
    replaced = BASE64 | {"replaceRecentBlockhash": True}
    answer = await node.call("simulateTransaction", wire(stale), replaced)
    assert answer["value"]["err"] is None
    latest = await node.call("getLatestBlockhash")
    assert answer["value"]["replacementBlockhash"] == latest["value"]
    unsigned = VersionedTransaction.populate(stale.message, [Keypair().sign_message(b"")])
    answer = await node.call("simulateTransaction", wire(unsigned), BASE64 | {"sigVerify": True})
    assert answer["value"]["err"] == "SignatureFailure"
    with pytest.raises(RpcError, match="sigVerify may not be used"):
        await node.call("simulateTransaction", wire(stale), replaced | {"sigVerify": True})


async def test_signatures_come_newest_first_in_the_order_of_their_blocks(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    sent: list[str] = []
    for slot in range(3):
        for _ in range(2):
            sent.append(await node.pay(payer, payee, SOL + len(sent)))
        if slot < 2:
            node.advance()
    node.finalize()
    newest_first = sent[::-1]

    async def listed(**config: object) -> list[str]:
        found = await node.call("getSignaturesForAddress", str(payee), config)
        return [info["signature"] for info in found]

    assert await listed() == newest_first
    assert await listed(limit=2) == newest_first[:2]
    assert await listed(before=newest_first[1]) == newest_first[2:]
    assert await listed(until=newest_first[3]) == newest_first[:3]
    assert await listed(before=newest_first[0], until=newest_first[3]) == newest_first[1:3]
    for limit in (0, 1001):
        with pytest.raises(RpcError, match="Invalid limit; max 1000"):
            await listed(limit=limit)


async def test_history_shows_only_what_has_reached_its_commitment(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    signature = await node.pay(payer, payee, SOL)

    async def seen(level: str) -> tuple[bool, bool]:
        config = {"commitment": level, "maxSupportedTransactionVersion": 0}
        found = await node.call("getTransaction", signature, config)
        listed = await node.call("getSignaturesForAddress", str(payee), {"commitment": level})
        return found is not None, bool(listed)

    assert await seen("confirmed") == (False, False)
    node.advance()
    assert await seen("confirmed") == (True, True)
    assert await seen("finalized") == (False, False)
    node.finalize()
    assert await seen("finalized") == (True, True)
    with pytest.raises(RpcError, match="below `confirmed`"):
        await seen("processed")


async def test_old_signatures_are_found_only_when_history_is_searched(node: Node) -> None:
    signature = await node.call("requestAirdrop", str(Keypair().pubkey()), SOL)
    node.advance(300)
    assert (await node.call("getSignatureStatuses", [signature]))["value"][0]["slot"] == 1
    node.advance()
    search = {"searchTransactionHistory": True}
    assert (await node.call("getSignatureStatuses", [signature]))["value"] == [None]
    (found,) = (await node.call("getSignatureStatuses", [signature], search))["value"]
    assert found["confirmationStatus"] == "finalized"
    with pytest.raises(RpcError, match="Too many inputs provided; max 256"):
        await node.call("getSignatureStatuses", [signature] * 257)


async def test_a_versioned_transaction_is_refused_to_a_client_without_max_version(
    node: Node,
) -> None:
    payer = await node.wallet()
    signature = await node.pay(payer, Keypair().pubkey(), SOL)
    node.advance()
    with pytest.raises(RpcError, match=r"Transaction version \(0\) is not supported") as refused:
        await node.call("getTransaction", signature, CONFIRMED)
    assert refused.value.code == -32015
    assert (await node.call("getTransaction", signature, FULL))["version"] == 0


async def test_a_legacy_transaction_is_shown_to_everyone(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    pay = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payee, lamports=SOL)
    message = Message.new_with_blockhash([transfer(pay)], payer.pubkey(), await node.blockhash())
    signature = await node.send(VersionedTransaction(message, [payer]))
    node.advance()
    assert "version" not in await node.call("getTransaction", signature, CONFIRMED)
    assert (await node.call("getTransaction", signature, FULL))["version"] == "legacy"


async def test_binary_encodings_return_the_bytes_that_were_sent(node: Node) -> None:
    payer = await node.wallet()
    transaction = await node.transfer(payer, Keypair().pubkey(), SOL)
    signature = await node.send(transaction)
    node.advance()
    shown = {}
    for encoding in ("base64", "base58"):
        found = await node.call("getTransaction", signature, FULL | {"encoding": encoding})
        shown[encoding] = found["transaction"]
    assert base64.b64decode(shown["base64"][0]) == bytes(transaction)
    assert b58decode(shown["base58"][0].encode()) == bytes(transaction)


async def test_parsed_transactions_name_transfers_and_memos(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    pay = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payee, lamports=SOL)
    note = Instruction(MEMO, b"thank you", [])
    limit = set_compute_unit_limit(100_000)
    signature = await node.send(await node.signed(payer, [transfer(pay), note, limit]))
    node.advance()
    found = await node.call("getTransaction", signature, FULL | {"encoding": "jsonParsed"})
    paid, noted, limited = found["transaction"]["message"]["instructions"]
    assert paid["parsed"] == {
        "type": "transfer",
        "info": {"source": str(payer.pubkey()), "destination": str(payee), "lamports": SOL},
    }
    assert (noted["program"], noted["parsed"]) == ("spl-memo", "thank you")
    assert b58decode(limited["data"].encode()) == bytes(
        limit.data
    )  # an instruction that is not parsed
    payer_key = found["transaction"]["message"]["accountKeys"][0]
    assert payer_key == {
        "pubkey": str(payer.pubkey()),
        "signer": True,
        "writable": True,
        "source": "transaction",
    }


async def test_the_fee_of_a_message_is_what_it_will_pay(node: Node) -> None:
    payer = await node.wallet()
    before = await node.balance(payer.pubkey())
    pay = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payer.pubkey(), lamports=1)
    steps = [set_compute_unit_price(2_000_000), set_compute_unit_limit(10_000), transfer(pay)]
    transaction = await node.signed(payer, steps)
    message = base64.b64encode(to_bytes_versioned(transaction.message)).decode()
    fee = (await node.call("getFeeForMessage", message, CONFIRMED))["value"]
    assert fee == 5000 + 20_000
    await node.send(transaction)
    assert await node.balance(payer.pubkey()) == before - fee
    stale = MessageV0.try_compile(payer.pubkey(), steps, [], Hash.default())
    text = base64.b64encode(to_bytes_versioned(stale)).decode()
    assert (await node.call("getFeeForMessage", text, CONFIRMED))["value"] is None


async def test_recent_fees_are_the_lowest_price_that_wrote_all_the_accounts(node: Node) -> None:
    payer, other = await node.wallet(), Keypair().pubkey()
    pay = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=other, lamports=SOL)
    slot = node.advance()
    for price in (700, 300):
        await node.send(await node.signed(payer, [set_compute_unit_price(price), transfer(pay)]))

    async def at_slot(*addresses: Pubkey) -> int:
        fees = await node.call("getRecentPrioritizationFees", [str(a) for a in addresses])
        price: int = {fee["slot"]: fee["prioritizationFee"] for fee in fees}[slot]
        return price

    assert await at_slot(payer.pubkey(), other) == 300
    assert await at_slot() == 300
    assert await at_slot(payer.pubkey(), Keypair().pubkey()) == 0


async def test_every_airdrop_is_a_separate_transaction(node: Node) -> None:
    lucky = Keypair().pubkey()
    signatures = {await node.call("requestAirdrop", str(lucky), SOL) for _ in range(5)}
    assert len(signatures) == 5
    assert await node.balance(lucky) == 5 * SOL
    node.advance()
    listed = await node.call("getSignaturesForAddress", str(lucky), CONFIRMED)
    assert {info["signature"] for info in listed} == signatures


async def test_a_block_holds_its_transactions_in_order(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    slot = node.advance()
    sent = [await node.pay(payer, payee, SOL + n) for n in range(3)]
    node.finalize()
    config = {"maxSupportedTransactionVersion": 0}
    block = await node.call("getBlock", slot, config)
    assert [t["transaction"]["signatures"][0] for t in block["transactions"]] == sent
    only = await node.call("getBlock", slot, config | {"transactionDetails": "signatures"})
    assert only["signatures"] == sent
    assert "transactions" not in only
    keys = await node.call("getBlock", slot, config | {"transactionDetails": "accounts"})
    shown = keys["transactions"][0]["transaction"]["accountKeys"]
    assert [key["pubkey"] for key in shown][:2] == [str(payer.pubkey()), str(payee)]
    empty = await node.call("getBlock", slot, {"transactionDetails": "none", "rewards": False})
    assert set(empty) == {
        "blockhash", "previousBlockhash", "parentSlot", "blockTime", "blockHeight",
    }  # fmt: skip


async def test_no_transaction_is_lost_between_processed_and_final(node: Node) -> None:
    before = await node.call("getTransactionCount", PROCESSED)
    payer = await node.wallet()
    for n in range(20):
        await node.pay(payer, Keypair().pubkey(), SOL // 100 + n)
        node.advance(n % 2)
    assert await node.call("getTransactionCount", PROCESSED) == before + 21
