"""The world with its clock held: blocks are made, and dropped, when a test says so."""

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
from tests.nursery.books import differing
from tests.nursery.world import World, until


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


async def opened(forking: Forking) -> Keypair:
    """The owner of an empty vault, which is final and applied."""
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
