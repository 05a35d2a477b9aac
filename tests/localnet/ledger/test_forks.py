"""Forks: dropped blocks disappear everywhere, and the chain continues from the fork point."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import trio
from solana.constants import BPF_LOADER_PROGRAM_ID
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.sysvar import CLOCK, RENT

from cvms import localnet
from cvms.errors import RpcError
from cvms.localnet.ledger.program_deployment import code_address, deploy, deployed_code
from cvms.localnet.ledger.sqlite_ledger import Ledger
from cvms.localnet.types import Commitment, Entry
from tests.localnet.ledger.test_sqlite_ledger import in_process
from tests.localnet.local_node import (
    BASE64,
    CONFIRMED,
    FINALIZED_LAG,
    PROCESSED,
    SOL,
    SYSTEM_PROGRAM,
    Node,
    wire,
)

BUFFER_STATE = (1).to_bytes(4, "little")
LEVELS = ("processed", "confirmed", "finalized")
SEARCH = {"searchTransactionHistory": True}
VERSIONED = CONFIRMED | {"maxSupportedTransactionVersion": 0}


async def known(node: Node, signature: str) -> list[Any]:
    """Return the slots of a transaction in its status, in itself and in the list."""
    status = (await node.call("getSignatureStatuses", [signature], SEARCH))["value"][0]
    found = await node.call("getTransaction", signature, VERSIONED)
    return [each and each["slot"] for each in (status, found)]


async def listed(node: Node, key: Pubkey) -> list[str]:
    infos = await node.call("getSignaturesForAddress", str(key), CONFIRMED)
    return [info["signature"] for info in infos]


async def test_dropped_transactions_disappear_from_history_and_balances(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    kept = await node.pay(payer, payee, SOL)
    kept_slot = node.running.chain.tip.slot
    node.advance()
    dropped = await node.pay(payer, payee, 2 * SOL)
    node.advance(2)
    count = await node.call("getTransactionCount", PROCESSED)
    assert await listed(node, payee) == [dropped, kept]

    node.running.chain.fork(3)
    node.advance()
    assert await known(node, dropped) == [None, None]
    assert await known(node, kept) == [kept_slot, kept_slot]
    assert await listed(node, payee) == [kept]
    assert await listed(node, payer.pubkey()) == [kept, *(await listed(node, payer.pubkey()))[1:]]
    assert await node.call("getTransactionCount", PROCESSED) == count - 1
    assert [await node.balance(payee, level) for level in LEVELS] == [SOL, SOL, 0]
    assert await node.balance(payer.pubkey()) == 9 * SOL - 5000
    node.finalize()
    assert [await node.balance(payee, level) for level in LEVELS] == [SOL, SOL, SOL]


async def test_the_new_fork_has_higher_slots_and_other_hashes(node: Node) -> None:
    start = node.advance(4)
    height = await node.call("getBlockHeight", PROCESSED)
    hashes = [await node.blockhash("processed")]
    for _ in range(2):
        node.advance()
        hashes.append(await node.blockhash("processed"))

    block = node.running.chain.fork(2)
    assert (block.slot, block.parent_slot, block.height) == (start + 3, start, height + 1)
    assert await node.blockhash("processed") not in hashes
    for blockhash, valid in zip(hashes, (True, False, False), strict=True):
        answer = await node.call("isBlockhashValid", str(blockhash), PROCESSED)
        assert answer["value"] is valid
    node.finalize()
    assert await node.call("getBlocks", start, start + 4) == [start, start + 3]
    for slot in (start + 1, start + 2):
        with pytest.raises(RpcError, match="was skipped"):
            await node.call("getBlock", slot)
    found = await node.call("getBlock", start + 3)
    assert (found["parentSlot"], found["previousBlockhash"]) == (start, str(hashes[0]))


async def test_a_dropped_transaction_may_land_again_while_its_hash_is_known(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    before = await node.blockhash("processed")
    node.advance()
    inside = await node.blockhash("processed")
    again = await node.transfer(payer, payee, SOL, blockhash=before)
    never = await node.transfer(payer, payee, 2 * SOL, blockhash=inside)
    for transaction in (again, never):
        await node.send(transaction, preflightCommitment="processed")
    node.running.chain.fork(1)
    assert await node.balance(payee) == 0
    signature = await node.send(again, preflightCommitment="processed")
    with pytest.raises(RpcError, match="Blockhash not found"):
        await node.send(never, preflightCommitment="processed")
    node.advance()
    assert await node.balance(payee) == SOL
    assert await known(node, signature) == [node.running.chain.tip.slot - 1] * 2


async def test_transactions_land_again_in_another_order_if_they_still_can(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    old = await node.blockhash("processed")
    node.advance()
    sent = [
        await node.send(
            await node.transfer(payer, payee, SOL + n, blockhash=old), skipPreflight=True
        )
        for n in range(3)
    ]
    unknown_hash = await node.pay(payer, payee, SOL)  # its block hash is that of a dropped block
    seen: list[list[str]] = []

    def again(dropped: Sequence[Entry]) -> list[Entry]:
        seen.append([entry.signature for entry in dropped])
        return [dropped[3], dropped[2], dropped[0]]

    block = node.running.chain.fork(1, again)
    assert seen == [[*sent, unknown_hash]]
    node.advance()
    assert await listed(node, payee) == [sent[0], sent[2]]
    assert (
        await node.call("getBlock", block.slot, VERSIONED | {"transactionDetails": "signatures"})
    )["signatures"] == [sent[2], sent[0]]
    assert await known(node, sent[1]) == [None, None]
    assert await node.balance(payee) == 2 * SOL + 2


async def test_accounts_created_or_closed_by_a_dropped_block_are_restored(node: Node) -> None:
    payer, other = await node.wallet(), await node.wallet(1)
    fresh = Keypair().pubkey()
    await node.pay(other, payer.pubkey(), SOL - 5000)  # closes it
    await node.pay(payer, fresh, SOL)
    node.running.chain.fork(1)
    assert await node.balance(other.pubkey()) == SOL
    answer = await node.call("getAccountInfo", str(fresh), PROCESSED | BASE64)
    assert answer["value"] is None
    await node.pay(other, fresh, SOL // 2)  # it can be used as before
    assert await node.balance(fresh) == SOL // 2


async def test_an_overwritten_account_stays_and_dropped_writes_to_it_are_undone(node: Node) -> None:
    payer, key = await node.wallet(), Keypair().pubkey()
    await node.pay(payer, key, SOL)
    await node.call("surfnet_setAccount", str(key), {"lamports": 7 * SOL})
    await node.pay(payer, key, SOL)
    node.running.chain.fork(1)
    assert [await node.balance(key, level) for level in LEVELS] == [7 * SOL] * 3


async def test_a_program_that_a_dropped_block_upgraded_runs_its_old_code(node: Node) -> None:
    payer, program, buffer = await node.wallet(), Keypair().pubkey(), Keypair().pubkey()
    chain, (old, new) = node.running.chain, map(elf, ("collateral_vault", "yield_pool"))
    deploy(chain, program, old, authority=payer.pubkey())
    data = BUFFER_STATE + b"\1" + bytes(payer.pubkey()) + new
    chain.overwrite(buffer, Account(chain.vm.rent_exempt(len(data)), data, BPF_LOADER_PROGRAM_ID))
    node.advance(2)

    async def units() -> int:
        """Return the compute units of an unknown instruction, which differ between the two."""
        call = await node.signed(payer, [Instruction(program, bytes(8), [])])
        config = BASE64 | CONFIRMED
        answer = await node.call("simulateTransaction", wire(call), config)
        consumed: int = answer["value"]["unitsConsumed"]
        return consumed

    before = await units()
    await node.send(await node.signed(payer, [upgrade(program, buffer, payer.pubkey())]))
    node.advance()
    assert deployed_code(chain, program).startswith(new)
    assert await units() != before
    chain.fork(2)
    assert deployed_code(chain, program) == old
    assert await units() == before


def elf(name: str) -> bytes:
    return files("cvms").joinpath("programs", f"{name}.so").read_bytes()


def upgrade(program: Pubkey, buffer: Pubkey, authority: Pubkey) -> Instruction:
    """`UpgradeableLoaderInstruction::Upgrade`."""
    written = [code_address(program), program, buffer, authority]
    accounts = [AccountMeta(key, is_signer=False, is_writable=True) for key in written]
    accounts += [AccountMeta(key, is_signer=False, is_writable=False) for key in (RENT, CLOCK)]
    accounts.append(AccountMeta(authority, is_signer=True, is_writable=False))
    return Instruction(BPF_LOADER_PROGRAM_ID, (3).to_bytes(4, "little"), accounts)


async def test_a_final_block_is_never_dropped(node: Node) -> None:
    payer = await node.wallet()
    node.advance(10)
    chain = node.running.chain
    for blocks in (FINALIZED_LAG + 1, 1000, 0, -1):
        with pytest.raises(ValueError, match="not final"):
            chain.fork(blocks)
    final = await node.call("getSlot")
    chain.fork(FINALIZED_LAG)
    assert await node.call("getSlot") == final
    # Until the new fork is as long as the old one, no more blocks become final.
    for _ in range(FINALIZED_LAG):
        assert await node.call("getSlot") == final
        assert await node.balance(payer.pubkey(), "finalized") == 10 * SOL
        node.advance()
    assert await node.call("getSlot") > final


async def test_a_confirmed_transaction_may_be_dropped_and_the_confirmed_slot_decreases(
    node: Node,
) -> None:
    payer = await node.wallet()
    signature = await node.pay(payer, Keypair().pubkey(), SOL)
    slot = node.advance(2)
    status = (await node.call("getSignatureStatuses", [signature]))["value"][0]
    assert status["confirmationStatus"] == "confirmed"
    assert await node.call("getSlot", CONFIRMED) == slot - 1
    node.running.chain.fork(3)
    assert await node.call("getSlot", CONFIRMED) == slot - 3
    assert await known(node, signature) == [None, None]


async def test_a_remaining_block_keeps_its_commitment(nursery: trio.Nursery) -> None:
    timing = localnet.Timing(slot_seconds=0.05, confirmed_lag=3, finalized_lag=6)
    running: localnet.Running = await nursery.start(
        partial(localnet.serve, port=0, ledger=None, timing=timing)
    )
    chain = running.chain
    chain.pause()
    chain.advance(20)
    confirmed, final = chain.bank(Commitment.CONFIRMED), chain.bank(Commitment.FINALIZED)
    chain.fork(2)
    for _ in range(2):
        assert chain.bank(Commitment.CONFIRMED) == confirmed
        assert chain.bank(Commitment.FINALIZED) == final
        chain.advance()
    chain.fork(5)  # drops confirmed blocks
    assert chain.bank(Commitment.CONFIRMED).height == chain.tip.height - 1


async def test_a_fork_survives_a_restart(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    async with in_process(ledger) as first:
        payer, payee = await first.wallet(), Keypair().pubkey()
        kept = await first.pay(payer, payee, SOL)
        first.advance()
        dropped = await first.pay(payer, payee, 2 * SOL)
        first.advance(2)
        tip = first.running.chain.fork(3)
        blockhash = await first.blockhash("processed")
        final = await first.call("getSlot")
    async with in_process(ledger) as second:
        assert second.running.chain.tip == tip
        assert await second.blockhash("processed") == blockhash
        assert await second.call("getSlot") == final == tip.parent_slot - 1
        second.advance()
        assert await listed(second, payee) == [kept]
        assert await known(second, dropped) == [None, None]
        assert [await second.balance(payee, level) for level in LEVELS] == [SOL, SOL, 0]
        # A fork right after a start restores the state before the restart.
        second.running.chain.fork(2)
        assert await second.balance(payee) == SOL


async def test_a_fork_that_fails_halfway_is_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    async with in_process(ledger) as first:
        payer, payee = await first.wallet(), Keypair().pubkey()
        signature = await first.pay(payer, payee, SOL)
        tip = first.running.chain.tip

        def killed(self: Ledger, block: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "add_block", killed)
            with pytest.raises(KeyboardInterrupt):
                first.running.chain.fork(1)
    async with in_process(ledger) as second:
        assert second.running.chain.tip == tip
        assert await second.balance(payee) == SOL
        second.advance()
        assert await known(second, signature) == [tip.slot] * 2
        assert await listed(second, payee) == [signature]


async def test_a_fork_of_a_genesis_account_after_a_restart_restores_it(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    token = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
    native = Pubkey.from_string("So11111111111111111111111111111111111111112")
    async with in_process(ledger) as first:
        payer = await first.wallet()
        before = [await first.balance(key) for key in (token, native)]
        for key in (token, native):
            await first.pay(payer, key, SOL)
    async with in_process(ledger) as second:
        second.running.chain.fork(1)
        assert [await second.balance(key) for key in (token, native)] == before


async def test_random_forks_leave_the_chain_as_if_dropped_blocks_never_existed(
    tmp_path: Path,
) -> None:
    """The kept payments explain every balance, at each commitment and after a restart."""
    dice = random.Random(5)
    ledger = tmp_path / "ledger.sqlite3"
    async with in_process(ledger) as node:
        payer, payees = await node.wallet(1000), [Keypair().pubkey() for _ in range(3)]
        chain = node.running.chain
        node.finalize()
        model: list[tuple[int, Pubkey, int]] = []  # height, payee, lamports
        for n in range(90):
            payee = dice.choice(payees)
            await node.pay(payer, payee, SOL // 10 + n)
            model.append((chain.tip.height, payee, SOL // 10 + n))
            if dice.random() < 0.4:
                node.advance(dice.randint(1, 2))
            if dice.random() < 0.15:
                most = chain.tip.height - chain.bank(Commitment.FINALIZED).height
                if most:
                    chain.fork(dice.randint(1, most))
                    model = [each for each in model if each[0] < chain.tip.height]
            for level in Commitment:
                height = chain.bank(level).height
                for key in payees:
                    paid = sum(m[2] for m in model if m[0] <= height and m[1] == key)
                    account = chain.accounts.at(key, chain.bank(level).slot)
                    assert (account.lamports if account else 0) == paid
    async with in_process(ledger) as node:
        for key in payees:
            assert await node.balance(key) == sum(m[2] for m in model if m[1] == key)
            node.advance()
            assert len(await listed(node, key)) == sum(m[1] == key for m in model)


# --- subscribers -------------------------------------------------------------------------------


async def test_subscribers_see_new_slots_and_logs_only_of_what_landed(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    old = await node.blockhash("processed")
    node.advance()
    async with node.pubsub() as pubsub:
        await pubsub.call("slotSubscribe")
        await pubsub.call("logsSubscribe", {"mentions": [str(payee)]}, CONFIRMED)
        transaction = await node.transfer(payer, payee, SOL, blockhash=old)
        sent = await node.send(transaction, skipPreflight=True)
        dropped = await node.pay(payer, payee, 2 * SOL)
        tip = node.running.chain.tip.slot
        block = node.running.chain.fork(1, reversed)
        assert (await pubsub.next())["params"]["result"] == {
            "slot": tip + 1,
            "parent": tip - 1,
            "root": block.height - FINALIZED_LAG,
        }
        node.advance()
        assert (await pubsub.next())["params"]["result"]["slot"] == tip + 2
        received = (await pubsub.next())["params"]["result"]
        assert (received["context"]["slot"], received["value"]["signature"]) == (tip + 1, sent)
        node.advance(3)
        rest = [(await pubsub.next())["params"]["result"] for _ in range(3)]
        assert all("parent" in result for result in rest), dropped
        assert await pubsub.quiet()


async def test_a_confirmed_block_is_not_notified_again_after_a_fork(node: Node) -> None:
    payer = await node.wallet()
    async with node.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", "all", CONFIRMED)
        sent = await node.pay(payer, Keypair().pubkey(), SOL)
        node.advance(2)
        assert (await pubsub.next())["params"]["result"]["value"]["signature"] == sent
        node.running.chain.fork(1)
        node.advance(3)
        assert await pubsub.quiet()
        node.running.chain.fork(2)
        later = await node.pay(payer, Keypair().pubkey(), SOL)
        node.advance(3)
        assert (await pubsub.next())["params"]["result"]["value"]["signature"] == later
        assert await pubsub.quiet()


async def test_an_account_subscriber_is_notified_of_the_restored_state(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    await node.pay(payer, payee, SOL)
    node.advance()
    async with node.pubsub() as confirmed, node.pubsub() as processed, node.pubsub() as late:
        for pubsub, level in ((confirmed, CONFIRMED), (processed, PROCESSED), (late, {})):
            await pubsub.call("accountSubscribe", str(payee), BASE64 | level)
        await node.pay(payer, payee, SOL)
        assert await lamports(processed) == 2 * SOL
        node.advance(1)
        assert await lamports(confirmed) == 2 * SOL  # of the block before
        await node.pay(payer, payee, SOL)
        assert await lamports(processed) == 3 * SOL
        node.running.chain.fork(2)
        assert await lamports(processed) == SOL
        node.advance()
        assert await lamports(confirmed) == SOL
        node.finalize()
        assert await lamports(late) == SOL  # of the block in which it was made
        for pubsub in (confirmed, processed, late):
            assert await pubsub.quiet()


async def test_a_transaction_that_lands_again_with_the_same_result_is_notified_again(
    node: Node,
) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    transaction = await node.transfer(payer, payee, SOL)
    node.advance()
    async with node.pubsub() as one, node.pubsub() as all_of_them:
        await one.call("accountSubscribe", str(payee), BASE64 | CONFIRMED)
        filters = {"filters": [{"dataSize": 0}]}
        await all_of_them.call("programSubscribe", SYSTEM_PROGRAM, BASE64 | CONFIRMED | filters)
        await node.send(transaction)
        slot = node.running.chain.tip.slot
        node.advance()
        node.running.chain.fork(2, reversed)
        node.advance()
        for at in (slot, slot + 2):
            received = (await one.next())["params"]["result"]
            assert (received["context"]["slot"], received["value"]["lamports"]) == (at, SOL)
        told_of = [(await all_of_them.next())["params"]["result"] for _ in range(4)]
        assert [
            each["context"]["slot"] for each in told_of if each["value"]["pubkey"] == str(payee)
        ] == [slot, slot + 2]


async def test_notifications_of_the_fork_point_are_not_repeated(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    async with node.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", {"mentions": [str(payee)]}, PROCESSED)
        sent = [await node.pay(payer, payee, SOL + n) for n in range(2)]
        node.advance()
        node.running.chain.fork(1)
        sent.append(await node.pay(payer, payee, SOL))
        received = [(await pubsub.next())["params"]["result"]["value"]["signature"] for _ in sent]
        assert received == sent
        assert await pubsub.quiet()


async def test_a_signature_is_notified_once_it_lands_again(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    transaction = await node.transfer(payer, payee, SOL)
    async with node.pubsub() as pubsub:
        await pubsub.call("signatureSubscribe", str(transaction.signatures[0]), CONFIRMED)
        await node.send(transaction)
        node.running.chain.fork(1)
        node.advance(2)
        assert await pubsub.quiet()
        await node.send(transaction)
        slot = node.advance() - 1
        assert (await pubsub.next())["params"]["result"]["context"]["slot"] == slot


async def lamports(pubsub: Any) -> int:
    value = (await pubsub.next())["params"]["result"]["value"]
    balance: int = value["lamports"]
    return balance
