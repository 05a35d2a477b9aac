"""Commits of the ledger: shared by what arrives together, and before anybody is told."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import trio
from solders.keypair import Keypair

from cvms.localnet.ledger.sqlite_ledger import Ledger
from tests.localnet.local_node import SOL, Node


class CountingLedger(Ledger):
    """A ledger that counts its commits."""

    commits = 0

    def commit(self) -> None:
        self.commits += self.uncommitted
        super().commit()


def write(ledger: Ledger, name: str) -> None:
    with ledger.batched():
        ledger.set_setting(name, b"written")


def write_and_fail(ledger: Ledger) -> None:
    ledger.set_setting("within", b"written")
    raise TypeError


def read(path: Path, name: str) -> bytes:
    ledger = Ledger(path)
    value = ledger.setting(name, b"missing")
    ledger.close()
    return value


async def test_writes_of_tasks_that_run_together_share_a_commit(tmp_path: Path) -> None:
    ledger = CountingLedger(tmp_path / "ledger")

    async def act(rounds: int, name: str) -> None:
        for number in range(rounds):
            write(ledger, f"{name}-{number}")
            await ledger.committed()

    async with trio.open_nursery() as nursery:
        for task in range(20):
            nursery.start_soon(act, 5, str(task))
    assert ledger.commits == 5
    ledger.close()
    assert read(tmp_path / "ledger", "19-4") == b"written"


async def test_a_task_commits_no_more_than_it_waits_for(tmp_path: Path) -> None:
    """Those who write while others wait for a commit have one of their own."""
    ledger = CountingLedger(tmp_path / "ledger")

    async def act(delay: int) -> None:
        for _ in range(delay):
            await trio.lowlevel.checkpoint()
        write(ledger, "name")
        await ledger.committed()

    async with trio.open_nursery() as nursery:
        for task in range(20):
            nursery.start_soon(act, task % 2)
    assert ledger.commits <= 3
    ledger.close()


async def test_a_write_that_fails_lets_nobody_believe_in_the_batch(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    write(ledger, "before")
    with pytest.raises(TypeError), ledger.batched():
        write_and_fail(ledger)
    with pytest.raises(sqlite3.ProgrammingError):
        await ledger.committed()
    ledger.close()
    assert read(tmp_path / "ledger", "before") == b"missing"


async def test_an_atomic_write_that_fails_undoes_nothing_else(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    write(ledger, "before")
    with pytest.raises(TypeError), ledger.atomically():
        write_and_fail(ledger)
    assert ledger.setting("before", b"missing") == b"written"
    assert ledger.setting("within", b"missing") == b"missing"
    ledger.close()


async def test_what_nobody_waited_for_is_on_disk_after_the_end(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    write(ledger, "last")
    ledger.close()
    assert read(tmp_path / "ledger", "last") == b"written"


async def pay_without_commit(node: Node, payer: Keypair) -> None:
    payment = await node.transfer(payer, Keypair().pubkey(), SOL)
    node.running.chain.process(payment)
    assert node.running.chain.ledger.uncommitted


async def test_every_reply_waits_for_the_commit(node: Node) -> None:
    await pay_without_commit(node, await node.wallet())
    await node.call("getTransactionCount")
    assert not node.running.chain.ledger.uncommitted


async def test_every_notification_waits_for_the_commit(node: Node) -> None:
    payer = await node.wallet()
    async with node.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", "all", {"commitment": "processed"})
        await pay_without_commit(node, payer)
        await pubsub.next()
        assert not node.running.chain.ledger.uncommitted


async def test_what_lands_again_after_a_fork_is_on_disk(node: Node) -> None:
    payer = await node.wallet()
    node.advance()
    await pay_without_commit(node, payer)
    node.running.chain.fork(1, lambda dropped: dropped)
    assert not node.running.chain.ledger.uncommitted
    assert await node.call("getTransactionCount", {"commitment": "processed"}) == 2
