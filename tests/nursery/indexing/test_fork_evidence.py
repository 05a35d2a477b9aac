"""Fork evidence: what proves a fork, what does not, and concurrent writers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio

from cvms import localnet
from cvms.chain.rpc.error_codes import BEHIND
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import Slot
from cvms.errors import GapNotClosed, RpcError
from cvms.nursery.indexing.apply_batch import apply_batch
from cvms.nursery.indexing.batch_reader import read_batch
from cvms.nursery.indexing.signature_gap import list_signatures_since
from cvms.store.index import cursor as cursors
from cvms.store.index.cursor import Cursor
from cvms.store.postgres.migrate import migrations
from cvms.store.vaults import vaults
from tests.nursery.forking import Forking, opened
from tests.nursery.index_tables import read_tables
from tests.nursery.world import address, until


async def test_an_account_read_ahead_of_a_dropped_transaction_is_read_again(
    forking: Forking,
) -> None:
    """An account may include a transaction that is not listed yet, and that a fork then drops."""
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    chain = world.chain.chain

    class ReadsAhead(RpcClient):
        async def get_accounts(self, *args: Any, **kwargs: Any) -> Any:
            await forking.act((owner, world.deposit(owner, 20)))
            return await super().get_accounts(*args, **kwargs)

    await world.indexer(rpc=ReadsAhead(world.rpc._transport)).catch_up()
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    assert row.total == 120
    forking.fork(2)
    await forking.catch_up()
    chain.advance(6)
    await world.finalizer().run_once()
    assert await forking.differing() == {}


async def test_a_node_that_pruned_its_ledger_causes_no_rollback(forking: Forking) -> None:
    """A node that started from a snapshot knows nothing of earlier blocks."""
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    await world.indexer().catch_up()
    before = await read_tables(world.database)
    world.chain.faults.history.first_slot = world.chain.chain.tip.slot
    await forking.act((owner, world.deposit(owner, 20)))
    with pytest.raises(GapNotClosed):
        await world.indexer().catch_up()
    assert await read_tables(world.database) == before
    assert world.progress.problem is not None

    # The same if nothing was final yet, so that nothing shows that the node knows the chain.
    await world.execute("DELETE FROM applied WHERE final")
    with pytest.raises(GapNotClosed):
        await world.indexer().catch_up()
    assert await read_tables(world.database) == before
    world.chain.faults.clear()
    await forking.catch_up()
    assert [amount for _, amount, _ in await world.history(owner)] == [100, 20]


class Mixed(RpcClient):
    """A client whose batches are answered by another node than its single calls."""

    def __init__(self, single: RpcClient, batches: RpcClient) -> None:
        super().__init__(single._transport)
        self._other = batches

    async def batch(self, calls: Any) -> Any:
        return await self._other.batch(calls)


@pytest.mark.parametrize("forgetful", ["for single calls", "for batches"])
async def test_one_nodes_ledger_is_no_evidence_for_what_another_pruned(
    forking: Forking, nursery: trio.Nursery, forgetful: str
) -> None:
    world, owner = forking.world, await opened(forking)
    for amount in (100, 20, 3):
        await forking.act((owner, world.deposit(owner, amount)))
    await world.indexer().catch_up()
    second = world.chain.chain.tip.slot - 2
    world.chain.chain.advance(6)
    whole: localnet.Running = await nursery.start(localnet.serve_node, world.chain.chain)
    world.chain.faults.history.first_slot = second
    async with open_rpc([whole.rpc_url]) as other:
        nodes = (world.rpc, other) if forgetful == "for single calls" else (other, world.rpc)
        with suppress(GapNotClosed):
            await world.finalizer(rpc=Mixed(*nodes)).run_once()
    published = [(kind, amount) for kind, _, amount in await forking.published()]
    assert published == [("event", 100), ("event", 20), ("event", 3)]
    world.chain.faults.clear()
    await forking.catch_up()
    await world.finalizer().run_once()
    assert await forking.differing() == {}


async def test_a_node_that_is_behind_causes_no_rollback(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    await world.indexer().catch_up()
    before = await read_tables(world.database)
    world.chain.faults.lag = 2
    with pytest.raises(RpcError) as refused:
        await world.indexer().catch_up()
    assert refused.value.code in BEHIND
    with pytest.raises(GapNotClosed):
        await world.indexer().forks.roll_back(seen=Slot(world.chain.chain.tip.slot))
    await world.finalizer().run_once()
    assert await read_tables(world.database) == before


async def test_the_finalizer_rolls_back_what_the_indexer_did_not_see(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    await world.indexer().catch_up()
    forking.fork(2)
    world.chain.chain.advance(6)
    await world.finalizer().run_once()
    assert await world.history(owner) == []
    assert await forking.differing() == {}
    assert {row.type for row in await world.outbox("deposit_event")} == {"event", "retracted"}


async def test_a_batch_waits_for_a_rollback_and_is_then_not_applied(
    forking: Forking,
) -> None:
    """A batch that was read before a fork must not be applied after the rollback."""
    world, owner = forking.world, await opened(forking)
    program = str(world.programs.vault)
    before = await world.cursor()
    await forking.act((owner, world.deposit(owner, 1)))
    await world.indexer().catch_up()
    cursor = await world.cursor()
    await forking.act((owner, world.deposit(owner, 2)))
    gap = await list_signatures_since(
        world.rpc, world.programs.vault, cursor=cursor, at_least=Slot(0)
    )
    batch = await read_batch(world.rpc, world.programs, gap, {})
    to = Cursor(program, gap[-1].slot, gap[-1].signature, None)
    applied: list[object] = []

    async def apply() -> None:
        applied.append(await apply_batch(world.database, batch, after=cursor, to=to))

    async def waits() -> bool:
        async with world.database.connection() as conn:
            found = await conn.execute(b"SELECT FROM pg_locks WHERE NOT granted")
            return await found.fetchone() is not None

    async with trio.open_nursery() as nursery, world.database.transaction() as conn:
        await cursors.lock(conn)
        await cursors.rewind(conn, program, before)
        nursery.start_soon(apply)
        await until(waits)
    assert applied == [None]
    assert await world.cursor() == before
    assert [amount for _, amount, _ in await world.history(owner)] == [1]


async def test_a_fork_is_rolled_back_in_a_database_of_an_older_version(forking: Forking) -> None:
    """That version kept no list of applied transactions: events and cursor have to suffice."""
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    await world.indexer().catch_up()
    await world.finalizer().run_once()
    await forking.act((owner, world.deposit(owner, 20)), (owner, world.withdraw(owner, 500)))
    await world.indexer().catch_up()
    section = next(each.sql for each in migrations() if each.version == 8)
    await world.execute("TRUNCATE applied, applied_before")
    async with world.database.connection() as conn:
        await conn.execute(section.encode())
    forking.fork(2)
    await forking.catch_up()
    assert [amount for _, amount, _ in await world.history(owner)] == [100]
    assert await forking.differing() == {}
