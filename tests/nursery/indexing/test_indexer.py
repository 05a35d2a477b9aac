"""Indexer: the database follows the chain through interruptions, repetitions and bad nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from structlog.testing import capture_logs

from cvms.chain.program import instructions
from cvms.chain.program.addresses import vault_address
from cvms.chain.rpc.responses import SignatureInfo, TransactionRecord
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Slot
from cvms.dev.chain_setup import make_mint
from cvms.errors import GapNotClosed
from cvms.nursery.indexing.apply_batch import apply_batch
from cvms.nursery.indexing.batch_reader import read_batch
from cvms.nursery.indexing.signature_gap import list_signatures_since
from cvms.nursery.wiring.replica_tasks import build_readiness_probe
from cvms.store.analytics import event_counters
from cvms.store.index.cursor import Cursor
from cvms.store.messaging.topics import ROW_WRITTEN
from cvms.store.vaults import vaults
from tests.nursery.world import World, address, running, until


async def test_a_deposit_and_a_withdrawal_are_recorded_once(world: World) -> None:
    owner = await world.owner(tokens=1_000)
    first = await world.act(owner, world.deposit(owner, 1_000))
    await world.act(owner, world.withdraw(owner, 400))
    indexer = world.indexer()
    for _ in range(3):
        assert await indexer.catch_up()

    assert await world.history(owner) == [("deposit", 1_000, 1_000), ("withdraw", 400, 600)]
    [deposit] = await world.outbox("deposit_event")
    assert deposit.owner == address(owner)
    assert deposit.signature == first
    assert deposit.data["amount"] == 1_000
    assert deposit.data["balance_after"] == 1_000
    [withdrawal] = await world.outbox("withdraw_event")
    assert withdrawal.data["amount"] == 400
    [balance] = await world.outbox("vault_balance_update")
    assert balance.data["balance"] == balance.data["available"] == 600
    assert await world.problems() == []


async def test_balances_are_published_as_they_change(world: World) -> None:
    owner, indexer = await world.owner(tokens=1_000), world.indexer()
    await indexer.catch_up()
    for step in (world.deposit(owner, 1_000), world.withdraw(owner, 400)):
        await world.act(owner, step)
        await indexer.catch_up()
    updates = await world.outbox("vault_balance_update")
    assert [row.data["balance"] for row in updates] == [0, 1_000, 600]
    assert [row.data["previous_balance"] for row in updates] == [0, 0, 1_000]
    assert [row.data["delta"] for row in updates] == [0, 1_000, -400]
    [deposit] = await world.outbox("deposit_event")
    assert updates[1].signature == deposit.signature
    assert updates[1].data["timestamp"] == deposit.data["block_time"]


async def test_notifications_alone_make_it_follow_the_chain(world: World) -> None:
    owner = await world.owner()
    indexer = world.indexer()
    indexer.poll_seconds = 1_000  # only the subscription can wake it
    async with running(indexer.run):
        for amount in (1, 2, 3):
            await world.act(owner, world.deposit(owner, amount))

        async def published() -> bool:
            return len(await world.outbox("deposit_event")) == 3

        await until(published)
    assert await world.problems() == []


async def test_several_events_of_one_transaction_are_all_applied(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, *(world.deposit(owner, amount) for amount in (1, 2, 3)))
    await world.indexer().catch_up()
    assert await world.history(owner) == [("deposit", 1, 1), ("deposit", 2, 3), ("deposit", 3, 6)]
    assert await world.problems() == []


async def test_a_failed_transaction_moves_the_cursor_and_nothing_else(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 100))
    indexer = world.indexer()
    await indexer.catch_up()
    before = await world.outbox()
    failed = await world.act(owner, world.withdraw(owner, 101))
    await indexer.catch_up()
    cursor = await world.cursor()
    assert cursor is not None
    assert cursor.signature == failed
    assert await world.outbox() == before
    assert await world.problems() == []


async def test_a_delegate_is_in_the_row_although_no_event_says_so(world: World) -> None:
    owner, delegate, indexer = await world.owner(), Keypair().pubkey(), world.indexer()
    await indexer.catch_up()
    add = instructions.add_delegate(world.programs, owner=owner.pubkey(), delegate=delegate)
    await world.act(owner, add)
    await indexer.catch_up()
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    assert row.delegates == (str(delegate),)
    assert row.state["delegates"] == [str(delegate)]
    assert await world.problems() == []


@pytest.mark.slow(seconds=19)
async def test_cancelled_at_any_point_and_started_again_nothing_is_lost_or_doubled(
    world: World,
) -> None:
    owners = [await world.owner(), await world.owner()]
    for owner in owners:
        await world.act(owner, world.deposit(owner, 500), world.withdraw(owner, 100))
    await world.act(owners[0], world.withdraw(owners[0], 10_000))
    await world.act(owners[1], world.deposit(owners[1], 7))
    world.chain.chain.pause()

    step, finished = 0, False
    while not finished:
        step += 1
        await world.execute(FORGET_EVERYTHING)
        finished = not await cancelled_after(step, world.indexer(batch_size=3).catch_up)
        await world.indexer(batch_size=3).catch_up()
        assert await world.problems() == [], f"cancelled after step {step}"
        world.resources.reconcile_queue.take()
    assert step > 50


async def test_without_pubsub_everything_is_applied_later(world: World) -> None:
    owner = await world.owner()
    world.chain.faults.refuse_pubsub = True

    async def applied() -> bool:
        return [amount for _, amount, _ in await world.history(owner)] == [7]

    with capture_logs() as logs:
        async with running(world.indexer().run):
            await until(partial(_refused, logs))
            await world.act(owner, world.deposit(owner, 7))
            await until(applied)
    assert await world.problems() == []


async def _refused(logs: Sequence[Mapping[str, Any]]) -> bool:
    return any(line["event"] == "pubsub_connection_lost" for line in logs)


async def test_two_indexers_at_once_double_nothing(world: World) -> None:
    owner = await world.owner()
    one, two = world.indexer(batch_size=2), world.indexer(batch_size=3)
    async with running(one.run, two.run):
        for amount in range(1, 16):
            await world.act(owner, world.deposit(owner, amount), wait=False)

        async def applied() -> bool:
            return len(await world.history(owner)) == 15

        await until(applied)
    assert [amount for _, amount, _ in await world.history(owner)] == list(range(1, 16))
    assert await world.problems() == []


async def test_a_rewound_cursor_repeats_the_work_without_effect(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 500))
    await world.act(owner, world.withdraw(owner, 200))
    await world.indexer().catch_up()
    before = await world.outbox()
    await world.execute("DELETE FROM indexer_cursor")
    await world.indexer().catch_up()
    published = await world.outbox()
    assert published[: len(before)] == before
    # None if the accounts are read in the same slot again.
    assert {row.topic for row in published[len(before) :]} <= {ROW_WRITTEN}
    assert await world.problems() == []


async def test_a_batch_is_not_applied_after_another_process_moved_the_cursor(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 500))
    gap = await list_signatures_since(
        world.rpc, world.programs.vault, cursor=None, at_least=Slot(0)
    )
    batch = await read_batch(world.rpc, world.programs, gap, {})
    await world.indexer().catch_up()
    cursor, messages = await world.cursor(), await world.outbox()
    late = Cursor(str(world.programs.vault), gap[-1].slot, "another", None)
    assert await apply_batch(world.database, batch, after=None, to=late) is None
    assert await world.cursor() == cursor
    assert await world.outbox() == messages


async def test_a_long_gap_is_read_in_pages(world: World) -> None:
    owner = await world.owner()
    sent = [await world.act(owner, world.deposit(owner, amount)) for amount in range(1, 8)]
    program = world.programs.vault
    full = await list_signatures_since(
        world.rpc, program, cursor=None, at_least=Slot(0), page_size=3
    )
    assert [info.signature for info in full][-7:] == sent
    cursor = Cursor(str(program), full[-8].slot, full[-8].signature, full[-9].signature)
    for page in range(1, 9):
        found = await list_signatures_since(
            world.rpc, program, cursor=cursor, at_least=Slot(0), page_size=page
        )
        assert [info.signature for info in found] == sent


class ForgetfulNode(RpcClient):
    """A node that pruned the old part of its ledger and does not know the `until` it is given."""

    async def get_signatures_for_address(self, *args: Any, **kwargs: Any) -> list[SignatureInfo]:
        found = await super().get_signatures_for_address(*args, **{**kwargs, "until": None})
        return [] if kwargs.get("before") else found[:1]


async def test_a_gap_that_cannot_be_closed_is_not_skipped_and_not_ready(world: World) -> None:
    owner = await world.owner()
    for amount in (1, 2):
        await world.act(owner, world.deposit(owner, amount))
    await world.indexer().catch_up()
    cursor = await world.cursor()
    for amount in (3, 4):
        await world.act(owner, world.deposit(owner, amount))

    probe = build_readiness_probe(world.resources)
    await probe.probe()
    assert world.board.ready
    with pytest.raises(GapNotClosed):
        await world.indexer(rpc=ForgetfulNode(world.rpc._transport)).catch_up()
    await probe.probe()
    assert not world.board.ready
    assert not world.board.components["indexer"].ok
    assert await world.cursor() == cursor
    assert len(await world.history(owner)) == 2

    await world.indexer().catch_up()
    await probe.probe()
    assert world.board.ready
    assert await world.problems() == []


class ShufflingNode(RpcClient):
    """A node whose list is out of order, or has a transaction twice."""

    twice = False

    async def get_signatures_for_address(self, *args: Any, **kwargs: Any) -> list[SignatureInfo]:
        found = await super().get_signatures_for_address(*args, **kwargs)
        return [*found, found[-1]] if self.twice else found[::-1]


async def test_a_list_out_of_order_or_with_duplicates_is_not_applied(world: World) -> None:
    owner = await world.owner()
    for amount in (1, 2):
        await world.act(owner, world.deposit(owner, amount))
    node = ShufflingNode(world.rpc._transport)
    for node.twice in (False, True):
        with pytest.raises(GapNotClosed):
            await world.indexer(rpc=node).catch_up()
        assert await world.cursor() is None
        assert world.progress.problem is not None
    assert await world.indexer().catch_up()
    assert await world.problems() == []


class SlowNode(RpcClient):
    """A node that lists a signature before it has the transaction."""

    missing: str | None = None

    async def get_transactions(self, *args: Any, **kwargs: Any) -> list[TransactionRecord | None]:
        found = await super().get_transactions(*args, **kwargs)
        return [None if each and each.signature == self.missing else each for each in found]


async def test_it_stops_before_a_transaction_that_the_node_does_not_have_yet(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 1))
    second = await world.act(owner, world.deposit(owner, 2))
    await world.act(owner, world.deposit(owner, 3))
    node = SlowNode(world.rpc._transport)
    node.missing = second
    indexer = world.indexer(rpc=node)
    assert not await indexer.catch_up()
    assert await world.history(owner) == [("deposit", 1, 1)]
    assert world.progress.slot is None
    node.missing = None
    assert await indexer.catch_up()
    assert len(await world.history(owner)) == 3
    assert await world.problems() == []


FORGET_EVERYTHING = """
TRUNCATE vaults, transactions, chain_events, event_totals, indexer_cursor, outbox, outbox_topics,
    applied, applied_before, balance_history, flows, tvl_hours, vault_sizes, account_offsets,
    vault_mints;
UPDATE outbox_head SET position = 0
"""


class _CancelAtStep(trio.abc.Instrument):
    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, steps: int) -> None:
        self._task, self._scope, self._left = task, scope, steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancelled_after(steps: int, work: Any) -> bool:
    """Cancel `work` after it was resumed `steps` times; return whether it was still running."""
    with trio.CancelScope() as scope:
        instrument = _CancelAtStep(trio.lowlevel.current_task(), scope, steps)
        trio.lowlevel.add_instrument(instrument)
        try:
            await work()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


async def test_a_vault_of_a_worthless_token_is_not_counted(world: World) -> None:
    honest = await world.owner(tokens=1_000)
    worthless = replace(world.programs, mint=Pubkey.new_unique())
    forger = await world.wallet()
    await make_mint(world.rpc, worthless.mint, authority=forger.pubkey())
    # More than a column can hold: counting it would stop the indexer for good.
    tokens = {"amount": 2**64 - 1}
    await world.rpc.call("surfnet_setTokenAccount", [address(forger), str(worthless.mint), tokens])
    key = forger.pubkey()
    await world.act(forger, instructions.initialize_vault(worthless, key))
    await world.act(
        forger, instructions.deposit(worthless, authority=key, owner=key, amount=2**64 - 1)
    )
    await world.act(honest, world.deposit(honest, 1_000))
    indexer = world.indexer(batch_size=1)
    assert await indexer.catch_up()

    assert await world.history(honest) == [("deposit", 1_000, 1_000)]
    assert await world.history(forger) == []
    assert {row.owner for row in await world.outbox()} == {address(honest)}
    async with world.database.connection() as conn:
        assert (await vaults.tvl(conn)).total == 1_000
        assert await event_counters.read(conn) == {"deposit": (1, 1_000)}
    await world.reconciler().full_pass()
    assert await world.recorded_differences() == 0


async def test_a_vault_closed_before_it_was_indexed_keeps_its_history(world: World) -> None:
    owner = await world.owner(tokens=1_000)
    await world.act(owner, world.deposit(owner, 700))
    await world.act(owner, world.withdraw(owner, 700))
    vault = vault_address(world.programs, owner.pubkey())
    await world.rpc.call("surfnet_setAccount", [str(vault), {"lamports": 0, "data": ""}])
    await until(partial(_is_closed, world, vault))
    assert await world.indexer(batch_size=1).catch_up()

    assert await world.history(owner) == [("deposit", 700, 700), ("withdraw", 700, 0)]
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    assert (row.total, row.mint, row.state) == (0, str(world.programs.mint), {"closed": True})


async def _is_closed(world: World, account: Pubkey) -> bool:
    found = await world.rpc.get_accounts([account], commitment=Commitment.CONFIRMED)
    return found.accounts == (None,)
