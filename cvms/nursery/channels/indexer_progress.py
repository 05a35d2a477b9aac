"""Progress of the indexer."""

from __future__ import annotations

import trio

from cvms.chain.types import Slot


class IndexerProgress:
    """Slot up to which the database is known to be complete. Written by the indexer."""

    def __init__(self) -> None:
        self._slot: Slot | None = None
        self._moved = trio.Event()
        self.reached_at: float | None = None
        """When `slot` was last confirmed to be complete, in trio's time."""
        self.problem: str | None = None
        """Why the gap to the chain cannot be closed, if it cannot."""

    @property
    def slot(self) -> Slot | None:
        """Every confirmed transaction of the program up to this slot is applied."""
        return self._slot

    @slot.setter
    def slot(self, slot: Slot | None) -> None:
        self._slot = slot
        self._moved.set()
        self._moved = trio.Event()

    async def reached(self, slot: Slot) -> None:
        """Wait until everything up to `slot` is applied. The caller sets a deadline."""
        while self._slot is None or self._slot < slot:
            await self._moved.wait()
