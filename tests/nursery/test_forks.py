"""A fork drops confirmed blocks, and the books are those of the chain that won."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms import localnet
from cvms.chain import instructions
from cvms.chain.rpc import Rpc, open_rpc
from cvms.chain.types import Commitment, Slot
from cvms.dev.chain import make_mint
from cvms.errors import GapNotClosed
from cvms.nursery.apply import apply_batch
from cvms.nursery.batch import BatchReader
from cvms.nursery.channels import outbox_frame
from cvms.nursery.gap import read_gap
from cvms.nursery.indexer import Indexer
from cvms.store import balance_history, vaults
from cvms.store import cursor as cursors
from cvms.store.cursor import Cursor
from cvms.store.schema import migrations
from tests.nursery.books import books, differing
from tests.nursery.test_indexer import cancelled_after
from tests.nursery.world import World, address, running, until


@dataclass
class Forking:
    """The world with its clock held: blocks are made, and dropped, when a test says so."""

    world: World
    server: str

    async def act(self, *steps: tuple[Keypair, Instruction]) -> list[str]:
        """Send these, one after the other, and confirm them in one block."""
        # Of a final block, so that a fork leaves them able to land again.
        latest = await self.world.rpc.get_latest_blockhash(Commitment.FINALIZED)
        sent = []
        for signer, step in steps:
            message = MessageV0.try_compile(signer.pubkey(), [step], [], latest.blockhash)
            wire = bytes(VersionedTransaction(message, [signer]))
            sent.append(await self.world.rpc.send_transaction(wire))
        self.world.chain.chain.advance(1)
        return sent

    def fork(self, blocks: int, again: Callable[..., Any] | None = None) -> None:
        """Drop the newest blocks, and let the one that won be confirmed."""
        chain = self.world.chain.chain
        chain.fork(blocks, *([again] if again else []))
        chain.advance(1)

    async def wallet(self) -> Keypair:
        """Somebody with tokens, which are final."""
        chain = self.world.chain.chain
        chain.resume()
        key = await self.world.wallet(tokens=1_000)
        chain.pause()
        chain.advance(6)
        return key

    async def settle_down(self, indexer: Indexer | None = None) -> None:
        """Catch up with the chain, in as many rounds as it takes."""
        indexer = indexer or self.world.indexer()
        for _ in range(6):
            if await indexer.catch_up():
                return
        raise AssertionError("it does not come to an end")

    async def differing(self) -> dict[str, Any]:
        return await differing(self.world, self.server)

    async def told(self) -> list[tuple[str, str, int]]:
        """Type, signature and amount of each deposit and withdrawal told, in order."""
        rows = await self.world.outbox()
        topics = ("deposit_event", "withdraw_event")
        return [
            (row.type, row.signature or "", row.data["amount"])
            for row in rows
            if row.topic in topics
        ]


@pytest.fixture
async def forking(world: World, postgres_server: str) -> Forking:
    """Two blocks from the newest one on are not confirmed, those deeper than three are final."""
    world.chain.chain.pause()
    return Forking(world, postgres_server)


async def opened(forking: Forking) -> Keypair:
    """The owner of an empty vault, which is final and applied."""
    world = forking.world
    world.chain.chain.resume()
    owner = await world.owner(tokens=1_000)
    world.chain.chain.pause()
    world.chain.chain.advance(6)
    await world.indexer().catch_up()
    return owner


async def test_what_a_fork_drops_for_good_is_taken_back(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    [kept] = await forking.act((owner, world.deposit(owner, 100)))
    await world.indexer().catch_up()
    dropped = await forking.act(
        (owner, world.deposit(owner, 20)), (owner, world.withdraw(owner, 3))
    )
    await world.indexer().catch_up()
    assert [amount for _, amount, _ in await world.history(owner)] == [100, 20, 3]

    forking.fork(2)
    await forking.settle_down()
    assert await world.history(owner) == [("deposit", 100, 100)]
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    assert row.total == 100
    assert await forking.told() == [
        ("event", kept, 100),
        ("event", dropped[0], 20),
        ("event", dropped[1], 3),
        ("retracted", dropped[1], 3),
        ("retracted", dropped[0], 20),
    ]
    assert world.metrics.registry.get_sample_value("indexer_retracted_events_total") == 4
    assert await forking.differing() == {}
    assert await world.problems() == []


async def test_a_retracted_message_is_the_one_that_was_told(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 20)))
    await world.indexer().catch_up()
    forking.fork(2)
    await forking.settle_down()
    event, retracted = await world.outbox("deposit_event")
    assert retracted.type == "retracted"
    assert retracted.seq == event.seq + 1
    assert (retracted.slot, retracted.data) == (event.slot, event.data)
    assert (retracted.owner, retracted.commitment) == (event.owner, event.commitment)
    frame = msgspec.json.decode(outbox_frame(retracted).payload)
    assert (frame["type"], frame["topic"], frame["data"]["amount"]) == (
        "retracted",
        "deposit_event",
        20,
    )
    balances = [row.data["balance"] for row in await world.outbox("vault_balance_update")]
    assert balances == [0, 20, 0]


async def test_what_lands_again_in_another_order_is_applied_again(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    one, two = await opened(forking), await opened(forking)
    await forking.act((one, world.deposit(one, 1)), (two, world.deposit(two, 2)))
    await forking.act((owner, world.deposit(owner, 100)), (one, world.deposit(one, 4)))
    await world.indexer().catch_up()
    before = await forking.told()

    forking.fork(4, reversed)
    await forking.settle_down()
    told = await forking.told()
    amounts = [amount for _, _, amount in before]
    assert [amount for type_, _, amount in told if type_ == "event"] == amounts + amounts[::-1]
    assert [amount for type_, _, amount in told if type_ == "retracted"] == amounts[::-1]
    assert await forking.differing() == {}
    assert await world.problems() == []


async def test_what_lands_again_as_it_was_is_of_another_slot(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    [sent] = await forking.act((owner, world.deposit(owner, 20)))
    await world.indexer().catch_up()
    forking.fork(2, list)
    await forking.settle_down()
    assert await forking.told() == [
        ("event", sent, 20),
        ("retracted", sent, 20),
        ("event", sent, 20),
    ]
    first, _, second = await world.outbox("deposit_event")
    assert second.slot > first.slot
    assert await forking.differing() == {}


async def test_a_vault_opened_on_the_losing_side_is_no_more(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    other = await forking.wallet()
    opening = instructions.initialize_vault(world.programs, other.pubkey())
    await forking.act((other, opening), (other, world.deposit(other, 5)))
    await world.indexer().catch_up()
    forking.fork(2)
    await forking.settle_down()
    async with world.database.connection() as conn:
        assert await vaults.get(conn, address(other)) is None
    assert await forking.differing() == {}

    await forking.act((other, opening), (owner, world.deposit(owner, 7)))
    await forking.settle_down()
    assert await forking.differing() == {}


async def test_a_vault_closed_and_opened_anew_on_the_losing_side(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 30)), (owner, world.withdraw(owner, 30)))
    await world.indexer().catch_up()
    close = instructions.close_vault(world.programs, owner.pubkey())
    opening = instructions.initialize_vault(world.programs, owner.pubkey())
    await forking.act((owner, close), (owner, opening), (owner, world.deposit(owner, 5)))
    await world.indexer().catch_up()
    forking.fork(2)
    await forking.settle_down()
    assert await forking.differing() == {}
    assert await world.problems() == []


async def test_a_fork_of_what_tells_nothing_moves_the_cursor_back(forking: Forking) -> None:
    """A transaction that fails, or adds a delegate, has no event."""
    world, owner = forking.world, await opened(forking)
    delegate = Keypair().pubkey()
    add = instructions.add_delegate(world.programs, owner=owner.pubkey(), delegate=delegate)
    before = await world.cursor()
    await forking.act((owner, add), (owner, world.withdraw(owner, 1)))
    await world.indexer().catch_up()
    forking.fork(2)
    await forking.settle_down()
    assert await world.cursor() == before
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    assert row.delegates == ()
    assert await forking.differing() == {}


async def test_two_forks_in_a_row_while_nobody_looks(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    await world.indexer(batch_size=1).catch_up()
    forking.fork(2, reversed)
    await forking.act((owner, world.withdraw(owner, 40)))
    forking.fork(3)
    await forking.act((owner, world.deposit(owner, 6)), (owner, world.deposit(owner, 7)))
    await forking.settle_down(world.indexer(batch_size=1))
    assert await forking.differing() == {}
    forking.fork(2, reversed)
    await forking.settle_down(world.indexer(batch_size=1))
    forking.fork(2, reversed)
    await forking.settle_down(world.indexer(batch_size=1))
    assert await forking.differing() == {}
    assert await world.problems() == []


async def test_a_fork_deeper_than_a_batch_and_killed_at_any_point(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    other = await opened(forking)
    step, finished = 0, False
    while not finished:
        step += 7
        steps = [(key, world.deposit(key, each)) for key in (owner, other) for each in (1, 2)]
        await forking.act(*steps, (owner, world.withdraw(owner, 1)))
        await forking.settle_down(world.indexer(batch_size=2))
        forking.fork(2, lambda dropped: dropped[1::2])
        finished = not await cancelled_after(step, world.indexer(batch_size=2).catch_up)
        await forking.settle_down(world.indexer(batch_size=2))
        assert await world.problems() == [], f"cancelled after step {step}"
        world.reconciliations.take()
    assert step > 50
    assert await forking.differing() == {}


async def test_two_indexers_during_forks(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    other = await opened(forking)
    one, two = world.indexer(batch_size=2), world.indexer(batch_size=3)
    async with running(one.run, two.run):
        for amount in range(1, 6):
            steps = [(key, world.deposit(key, amount)) for key in (owner, other)]
            await forking.act(*steps, (owner, world.withdraw(owner, 1)))
            await until_applied(world)
            forking.fork(2, reversed)
            await until_applied(world)
    assert await forking.differing() == {}
    assert await world.problems() == []


async def until_applied(world: World) -> None:
    """Wait until the newest confirmed transaction of the program is the last applied."""

    async def applied() -> bool:
        [newest] = await world.rpc.get_signatures_for_address(
            world.programs.vault, commitment=Commitment.CONFIRMED, limit=1
        )
        cursor = await world.cursor()
        return cursor is not None and (cursor.signature, cursor.slot) == (
            newest.signature,
            newest.slot,
        )

    await until(applied)


async def test_what_was_read_ahead_of_a_dropped_transaction_is_read_again(
    forking: Forking,
) -> None:
    """The account may show a transaction before the list does; then a fork drops it unseen."""
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    chain = world.chain.chain

    class ReadsAhead(Rpc):
        async def get_accounts(self, *args: Any, **kwargs: Any) -> Any:
            await forking.act((owner, world.deposit(owner, 20)))
            return await super().get_accounts(*args, **kwargs)

    await world.indexer(rpc=ReadsAhead(world.rpc._transport)).catch_up()
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    assert row.total == 120
    forking.fork(2)
    await forking.settle_down()
    chain.advance(6)
    await world.settler().settle()
    assert await forking.differing() == {}


async def test_what_was_read_ahead_of_a_dropped_transaction_is_in_no_past_balance(
    forking: Forking,
) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))

    class ReadsAhead(Rpc):
        async def get_accounts(self, *args: Any, **kwargs: Any) -> Any:
            await forking.act((owner, world.deposit(owner, 20)))
            return await super().get_accounts(*args, **kwargs)

    await world.indexer(rpc=ReadsAhead(world.rpc._transport)).catch_up()
    forking.fork(2)
    await forking.act((owner, world.deposit(owner, 3)))
    landed = world.chain.chain.tip.slot - 1
    world.chain.chain.advance(3)
    await forking.settle_down()
    world.chain.chain.advance(6)
    await forking.settle_down()
    await world.settler().settle()
    async with world.database.connection() as conn:
        held = [
            point.total if (point := await balance_history.at(conn, address(owner), slot)) else None
            for slot in (landed, landed + 6)
        ]
    assert held == [103, 103]


async def test_a_node_that_has_forgotten_takes_nothing_back(forking: Forking) -> None:
    """A node that came up from a snapshot knows nothing of what was before."""
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    await world.indexer().catch_up()
    before = await books(world.database)
    world.chain.faults.history.first_slot = world.chain.chain.tip.slot
    await forking.act((owner, world.deposit(owner, 20)))
    with pytest.raises(GapNotClosed):
        await world.indexer().catch_up()
    assert await books(world.database) == before
    assert world.progress.problem is not None

    # Nor if nothing was final yet, so that nothing shows that it knows the chain at all.
    await world.execute("DELETE FROM applied WHERE final")
    with pytest.raises(GapNotClosed):
        await world.indexer().catch_up()
    assert await books(world.database) == before


class Mixed(Rpc):
    """Single calls of one method are answered by another node than all the rest."""

    def __init__(self, most: Rpc, other: Rpc, *, method: str) -> None:
        super().__init__(most._transport)
        self._other, self._method = other, method

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        asked = self._other.call if method == self._method else super().call
        return await asked(method, *args, **kwargs)


async def test_what_one_node_forgot_is_not_proved_by_what_another_remembers(
    forking: Forking, nursery: trio.Nursery
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
        mixed = Mixed(world.rpc, other, method="getFirstAvailableBlock")
        with suppress(GapNotClosed):
            await world.settler(rpc=mixed).settle()
    assert [(kind, amount) for kind, _, amount in await forking.told()] == [
        ("event", 100),
        ("event", 20),
        ("event", 3),
    ]
    world.chain.faults.clear()
    await forking.settle_down()
    await world.settler().settle()
    assert await forking.differing() == {}


async def test_the_settler_takes_back_what_the_indexer_did_not_see(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    await world.indexer().catch_up()
    forking.fork(2)
    world.chain.chain.advance(6)
    await world.settler().settle()
    assert await world.history(owner) == []
    assert await forking.differing() == {}
    assert {row.type for row in await world.outbox("deposit_event")} == {"event", "retracted"}


async def test_it_follows_forks_live(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    async with running(world.indexer().run):
        for amount in (1, 2, 3):
            await forking.act((owner, world.deposit(owner, amount)))
            await until_applied(world)
            forking.fork(2)
            with trio.fail_after(10):
                await until_applied(world)
    assert await world.history(owner) == []
    assert await forking.differing() == {}


async def test_a_vault_that_took_our_mint_on_the_losing_side_does_not_count(
    forking: Forking,
) -> None:
    world, key = forking.world, await forking.wallet()
    other = replace(world.programs, mint=Pubkey.new_unique())
    world.chain.chain.resume()
    await make_mint(world.rpc, other.mint, authority=key.pubkey())
    await world.act(key, instructions.initialize_vault(other, key.pubkey()))
    world.chain.chain.pause()
    world.chain.chain.advance(6)
    await world.indexer().catch_up()

    close = instructions.close_vault(other, key.pubkey())
    opening = instructions.initialize_vault(world.programs, key.pubkey())
    await forking.act((key, close), (key, opening), (key, world.deposit(key, 5)))
    await world.indexer().catch_up()
    assert len(await world.history(key)) == 1
    forking.fork(2)
    await forking.settle_down()
    async with world.database.connection() as conn:
        assert await vaults.get(conn, address(key)) is None
    assert await forking.differing() == {}


async def test_who_applies_waits_for_who_takes_back_and_writes_nothing_then(
    forking: Forking,
) -> None:
    """What was read before a fork must not be applied on top of what is left after it."""
    world, owner = forking.world, await opened(forking)
    program = str(world.programs.vault)
    before = await world.cursor()
    await forking.act((owner, world.deposit(owner, 1)))
    await world.indexer().catch_up()
    cursor = await world.cursor()
    await forking.act((owner, world.deposit(owner, 2)))
    gap = await read_gap(world.rpc, world.programs.vault, cursor=cursor, at_least=Slot(0))
    reader = BatchReader(rpc=world.rpc, programs=world.programs, metrics=world.metrics)
    batch = await reader.read(gap)
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
        await cursors.retreat(conn, program, before)
        nursery.start_soon(apply)
        await until(waits)
    assert applied == [None]
    assert await world.cursor() == before
    assert [amount for _, amount, _ in await world.history(owner)] == [1]


async def test_a_fork_is_taken_back_in_a_database_of_an_older_version(forking: Forking) -> None:
    """It did not note what it applied: its events and its cursor have to do."""
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    await world.indexer().catch_up()
    await world.settler().settle()
    await forking.act((owner, world.deposit(owner, 20)), (owner, world.withdraw(owner, 500)))
    await world.indexer().catch_up()
    section = next(each.sql for each in migrations() if each.version == 8)
    await world.execute("TRUNCATE applied, applied_before")
    async with world.database.connection() as conn:
        await conn.execute(section.encode())
    forking.fork(2)
    await forking.settle_down()
    assert [amount for _, amount, _ in await world.history(owner)] == [100]
    assert await forking.differing() == {}
