"""Vaults that the reconciler is asked to compare with the chain."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class IndexedBatch:
    """A committed step of the indexer: whose vaults it touched, up to which slot and position."""

    slot: int
    owners: tuple[str, ...]
    position: int


INDEXED_QUEUE = 256
"""Batches that the reconciler has not looked at; the indexer waits when it is full."""


class ReconcileQueue:
    """Vaults that are to be held against the chain: those of each batch, and those asked for."""

    def __init__(self) -> None:
        self.indexed, self._batches = trio.open_memory_channel[IndexedBatch](INDEXED_QUEUE)
        self._requested: set[str] = set()
        self._everything = False

    def request(self, owner: str | None) -> None:
        """Have an owner's vault compared at the next look, or with None all of them."""
        if owner is None:
            self._everything = True
        else:
            self._requested.add(owner)
        with suppress(trio.WouldBlock):  # a full queue wakes the reconciler anyway
            self.indexed.send_nowait(IndexedBatch(slot=0, owners=(), position=0))

    async def receive(self) -> list[str]:
        """Wait for a batch, and take the owners of all that are there."""
        batch = await self._batches.receive()
        return [*batch.owners, *self.take()]

    def take(self) -> list[str]:
        """The owners of what is there now."""
        owners, self._requested = list(self._requested), set()
        try:
            while True:
                owners += self._batches.receive_nowait().owners
        except trio.WouldBlock:
            return owners

    def take_everything(self) -> bool:
        """Whether all vaults were asked for since this was last asked."""
        asked, self._everything = self._everything, False
        return asked
