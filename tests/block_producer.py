"""Blocks on demand: a local chain on which a transaction is confirmed at once."""

from __future__ import annotations

import trio
from solders.pubkey import Pubkey

from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.types import DroppedBlocks, Entry


class BlockProducer:
    """Starts the next slot as soon as the tip holds a transaction, while the clock runs.

    So a transaction is confirmed at once, and no test waits for the clock to say so.
    """

    behind = 0

    def __init__(self, chain: LocalnetChain) -> None:
        self._chain = chain
        self._processed = trio.Event()

    async def run(self) -> None:
        self._chain.observers.append(self)
        while True:
            await self._processed.wait()
            self._processed = trio.Event()
            if not self._chain.time.paused:
                self._chain.advance()

    def processed(self, entry: Entry) -> None:
        self._processed.set()

    def received(self, signature: str) -> None: ...
    def slot_started(self) -> None: ...
    def forked(self, fork: DroppedBlocks) -> None: ...
    def overwritten(self, key: Pubkey) -> None: ...
