"""Transactions land although they are dropped, expire, or meet endpoints that fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from cvms.bootstrap.run import sender_for
from cvms.bootstrap.transactions import Draft, TransactionSender
from cvms.config.loader import load_programs
from cvms.errors import StepFailed
from cvms.localnet.node.faults import Fail
from tests.bootstrap.deployer import PACE, SOL, Deployer

BLOCKS = 200
"""More than those for which a block hash is valid."""


@pytest.fixture
async def sender(deployer: Deployer) -> TransactionSender:
    """A sender with 10 SOL."""
    payer = Keypair()
    deployer.put(payer.pubkey(), Pubkey.default(), b"")
    return sender_for(deployer.cluster, payer, load_programs({}), PACE)


def payments(sender: TransactionSender, count: int) -> tuple[Pubkey, list[Draft]]:
    """Return transfers of different amounts to a new address."""
    recipient, payer = Keypair().pubkey(), sender.payer.pubkey()
    amounts = [1_000_000 + number for number in range(count)]
    params = [
        TransferParams(from_pubkey=payer, to_pubkey=recipient, lamports=each) for each in amounts
    ]
    return recipient, [Draft(f"pay {each['lamports']}", (transfer(each),)) for each in params]


def total(count: int) -> int:
    return sum(1_000_000 + number for number in range(count))


async def test_transactions_land_once_each_through_a_node_that_drops_half(
    deployer: Deployer, sender: TransactionSender
) -> None:
    deployer.running.faults.sends.drop = 0.5
    recipient, drafts = payments(sender, 100)
    landed: list[None] = []
    await sender.send_all(drafts, landed=lambda: landed.append(None))
    assert len(landed) == 100
    assert await deployer.cluster.rpc.get_balance(recipient) == total(100)


async def test_an_expired_transaction_is_signed_anew(
    deployer: Deployer, sender: TransactionSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first block hash expires before anything lands."""
    chain, sends = deployer.running.chain, deployer.running.faults.sends
    sends.drop = 1.0
    wires: list[bytes] = []

    def expire() -> None:
        if len(wires) == 3:
            chain.advance(BLOCKS)
            sends.drop = 0.0

    watched(sender, monkeypatch, wires, expire)
    recipient, drafts = payments(sender, 3)
    await sender.send_all(drafts)
    assert len(set(wires)) == 6, "each was signed with a second block hash"
    assert await deployer.cluster.rpc.get_balance(recipient) == total(3)


def watched(
    sender: TransactionSender,
    monkeypatch: pytest.MonkeyPatch,
    wires: list[bytes],
    after: Callable[[], None],
) -> None:
    """Collect what the sender sends, and call `after` each time."""
    send = sender.rpc.send_everywhere

    async def send_and_collect(wire: bytes, **options: Any) -> str:
        signature = await send(wire, **options)
        wires.append(wire)
        after()
        return signature

    monkeypatch.setattr(sender.rpc, "send_everywhere", send_and_collect)


async def test_an_endpoint_that_fails_for_a_while_ends_nothing(
    deployer: Deployer, sender: TransactionSender
) -> None:
    methods = ("sendTransaction", "getSignatureStatuses", "getBlockHeight")
    deployer.running.faults.rpc = [Fail(methods=methods, times=12)]
    recipient, drafts = payments(sender, 5)
    await replace(sender, patience=20.0).send_all(drafts)
    assert await deployer.cluster.rpc.get_balance(recipient) == total(5)


async def test_what_never_lands_is_given_up_with_the_last_reason(
    deployer: Deployer, sender: TransactionSender
) -> None:
    fault = Fail(methods=("sendTransaction",), code=-32003, message="we take no transactions")
    deployer.running.faults.rpc = [fault]
    _, drafts = payments(sender, 2)
    with pytest.raises(StepFailed, match=r"pay 1000000: nothing was confirmed .*we take no trans"):
        await replace(sender, patience=0.2).send_all(drafts)


async def test_a_transaction_that_would_fail_is_not_sent(
    deployer: Deployer, sender: TransactionSender
) -> None:
    sent = deployer.running.chain.transaction_count
    params = TransferParams(
        from_pubkey=sender.payer.pubkey(), to_pubkey=Keypair().pubkey(), lamports=99 * SOL
    )
    with pytest.raises(StepFailed, match="pay too much: "):
        await sender.send(Draft("pay too much", (transfer(params),)))
    assert deployer.running.chain.transaction_count == sent
