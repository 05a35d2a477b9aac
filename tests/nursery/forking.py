"""Tests' control of forks: blocks are made and dropped only when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.transaction import VersionedTransaction

from cvms.chain.types import Commitment
from cvms.nursery.indexing.indexer import Indexer
from tests.nursery.index_tables import differing_tables
from tests.nursery.world import World, until


@dataclass
class Forking:
    """The world with a paused chain, whose blocks a test makes and drops."""

    world: World
    server: str

    async def act(self, *steps: tuple[Keypair, Instruction]) -> list[str]:
        """Send these in order, and confirm them in one block."""
        # A finalized block hash, so that the transactions can land again after a fork.
        latest = await self.world.rpc.get_latest_blockhash(Commitment.FINALIZED)
        sent = []
        for signer, step in steps:
            message = MessageV0.try_compile(signer.pubkey(), [step], [], latest.blockhash)
            wire = bytes(VersionedTransaction(message, [signer]))
            sent.append(await self.world.rpc.send_transaction(wire))
        self.world.chain.chain.advance(1)
        return sent

    def fork(self, blocks: int, again: Callable[..., Any] | None = None) -> None:
        """Drop the newest blocks, and confirm a block of the surviving fork."""
        chain = self.world.chain.chain
        chain.fork(blocks, *([again] if again else []))
        chain.advance(1)

    async def wallet(self) -> Keypair:
        """Return a wallet with finalized tokens."""
        chain = self.world.chain.chain
        chain.resume()
        key = await self.world.wallet(tokens=1_000)
        chain.pause()
        chain.advance(6)
        return key

    async def catch_up(self, indexer: Indexer | None = None) -> None:
        """Run the indexer until it has caught up with the chain."""
        indexer = indexer or self.world.indexer()
        for _ in range(6):
            if await indexer.catch_up():
                return
        raise AssertionError("the indexer does not catch up")

    async def differing(self) -> dict[str, Any]:
        return await differing_tables(self.world, self.server)

    async def published(self) -> list[tuple[str, str, int]]:
        """Return type, signature and amount of the published deposits and withdrawals, in order."""
        rows = await self.world.outbox()
        topics = ("deposit_event", "withdraw_event")
        return [
            (row.type, row.signature or "", row.data["amount"])
            for row in rows
            if row.topic in topics
        ]


async def opened(forking: Forking) -> Keypair:
    """Return the owner of an empty vault, which is finalized and indexed."""
    world = forking.world
    world.chain.chain.resume()
    owner = await world.owner(tokens=1_000)
    world.chain.chain.pause()
    world.chain.chain.advance(6)
    await world.indexer().catch_up()
    return owner


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
