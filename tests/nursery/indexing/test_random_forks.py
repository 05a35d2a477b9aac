"""Random blocks, forks and interruptions: the tables always equal those of a fresh index.

Run a failing seed again with `-k`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.transaction import VersionedTransaction

from cvms.chain.program import instructions
from cvms.chain.rpc.error_codes import BEHIND
from cvms.chain.types import Commitment
from cvms.errors import RpcError
from cvms.localnet.types import Commitment as ChainCommitment
from cvms.localnet.types import Entry
from cvms.nursery.indexing.block_reader import DENSE
from tests.nursery.forking import Forking, opened
from tests.nursery.indexing.test_indexer import cancelled_after
from tests.nursery.world import World

STEPS = 40


@pytest.mark.parametrize(("seed", "dense"), [(1, DENSE), (2, DENSE), (3, 1), (4, 1)])
async def test_after_random_steps_the_tables_equal_those_of_a_fresh_index(
    forking: Forking, seed: int, dense: int
) -> None:
    forking.world.dense = dense
    dice = random.Random(seed)
    owners = [await opened(forking) for _ in range(3)]
    steps = RandomSteps(forking.world, dice, owners)
    await steps.prepare()
    for step in range(STEPS):
        [act] = dice.choices(
            [steps.block, steps.fork, steps.index, steps.interrupted, steps.finalize],
            [10, 4, 4, 1, 1],
        )
        await act()
        forking.world.resources.reconcile_queue.take()
        if step % 20 == 19:
            forking.world.chain.chain.advance(2)
            await forking.catch_up()
            forking.world.chain.chain.advance(6)
            await forking.world.finalizer().run_once()
            await forking.catch_up()
            assert await forking.differing() == {}, f"seed {seed}, step {step}"
    assert await unpublished(forking.world) == Counter()


class RandomSteps:
    """Random steps on the chain and of the indexer."""

    def __init__(self, world: World, dice: random.Random, owners: Sequence[Keypair]) -> None:
        self._world = world
        self._dice = dice
        self._owners = owners
        self._amount = 0

    async def prepare(self) -> None:
        """Let every owner open positions."""
        chain = self._world.chain.chain
        chain.resume()
        for owner in self._owners:
            key = owner.pubkey()
            step = instructions.init_position_summary(self._world.programs, payer=key, owner=key)
            await self._world.act(owner, step, self._world.agree(owner))
        chain.pause()
        chain.advance(6)

    async def block(self) -> None:
        """Send some transactions, which may fail, and perhaps end the block."""
        levels = (Commitment.FINALIZED, Commitment.CONFIRMED)
        latest = await self._world.rpc.get_latest_blockhash(self._dice.choice(levels))
        for _ in range(self._dice.randint(1, 4)):
            signer, step = self._step()
            message = MessageV0.try_compile(signer.pubkey(), [step], [], latest.blockhash)
            try:
                wire = bytes(VersionedTransaction(message, [signer]))
                await self._world.rpc.send_transaction(wire)
            except RpcError:
                continue  # its block hash was dropped by a fork
        self._world.chain.chain.advance(self._dice.choice([0, 1, 1, 2]))

    def _step(self) -> tuple[Keypair, Instruction]:
        self._amount += 1
        owner, other = self._dice.sample(self._owners, 2)
        programs, operator, small = self._world.programs, self._world.operator, self._amount % 9 + 1
        key = owner.pubkey()
        steps: list[Callable[[], Instruction]] = [
            lambda: self._world.deposit(owner, self._amount),
            lambda: self._world.deposit(owner, self._amount),
            lambda: self._world.withdraw(owner, small),
            lambda: self._world.withdraw(owner, 10**9 + self._amount),
            lambda: instructions.close_vault(programs, key),
            lambda: instructions.initialize_vault(programs, key),
            lambda: instructions.open_position(programs, authority=key, owner=key, amount=small),
            lambda: instructions.close_position(programs, authority=key, owner=key, amount=small),
            lambda: instructions.release_timelocks(programs, authority=key, owner=key),
            lambda: instructions.emergency_withdraw(
                programs, authority=key, owner=key, amount=small
            ),
            lambda: instructions.schedule_timelock(
                programs,
                authority=key,
                owner=key,
                amount=small,
                duration_seconds=self._dice.choice([0, 1, 1_000]),
            ),
        ]
        transfer = instructions.rebalance_collateral(
            programs,
            authority=operator.pubkey(),
            from_owner=key,
            to_owner=other.pubkey(),
            amount=small,
        )
        if self._dice.random() < 1 / len(steps):
            return operator, transfer
        return owner, self._dice.choice(steps)()

    async def fork(self) -> None:
        """Drop blocks that are not final; some of their transactions may land again."""
        chain = self._world.chain.chain
        max_blocks = chain.tip.height - chain.bank(ChainCommitment.FINALIZED).height
        if max_blocks > 0:
            chain.fork(self._dice.randint(1, max_blocks), self._again)
            chain.advance(self._dice.choice([0, 1, 1, 2]))

    def _again(self, dropped: Sequence[Entry]) -> list[Entry]:
        entries = list(dropped)
        if self._dice.random() < 0.5:
            self._dice.shuffle(entries)
        return entries[: self._dice.choice([0, len(entries), len(entries) // 2])]

    async def index(self) -> None:
        indexer = self._world.indexer(batch_size=self._dice.choice([1, 2, 3, 100]))
        await unless_behind(indexer.catch_up)

    async def interrupted(self) -> None:
        """Run the indexer and cancel it at a random step."""

        async def work() -> None:
            await unless_behind(self._world.indexer(batch_size=2).catch_up)

        await cancelled_after(self._dice.randint(1, 60), work)

    async def finalize(self) -> None:
        await unless_behind(self._world.finalizer().run_once)


async def unless_behind(work: Callable[[], Awaitable[object]]) -> None:
    """Do the work; ignore that the node is behind, as it may be after a fork."""
    try:
        await work()
    except RpcError as error:
        if error.code not in BEHIND:
            raise


async def unpublished(world: World) -> Counter[tuple[str | None, int, str, int, str | None]]:
    """Return the history lines that were not published, and published ones without a line."""
    query = b"SELECT signature, slot, kind, amount, owner FROM transactions"
    async with world.database.connection() as conn:
        lines = Counter(await (await conn.execute(query)).fetchall())
    for row in await world.outbox():
        if "kind" in row.data:
            line = (row.signature, row.slot, row.data["kind"], row.data["amount"], row.owner)
            lines[line] -= 1 if row.type == "event" else -1
    return Counter({line: count for line, count in lines.items() if count})
