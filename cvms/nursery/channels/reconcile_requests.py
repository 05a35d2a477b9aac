"""Queue of vaults that the reconciler compares with the chain."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import trio


@dataclass(frozen=True, slots=True)
class IndexedBatch:
    """A committed step of the indexer: owners of the vaults it touched, its slot and position."""

    slot: int
    owners: tuple[str, ...]
    position: int


MAX_QUEUED_BATCHES = 256
"""Batches that the reconciler has not received yet. When full, the indexer waits."""


class ReconcileQueue:
    """Vaults to compare: those of each indexed batch, and those that were requested."""

    def __init__(self) -> None:
        self.indexed, self._batches = trio.open_memory_channel[IndexedBatch](MAX_QUEUED_BATCHES)
        self._requested: set[str] = set()
        self._everything = False

    def request(self, owner: str | None) -> None:
        """Request a comparison of an owner's vault, or of all vaults with None. Never waits."""
        if owner is None:
            self._everything = True
        else:
            self._requested.add(owner)
        with suppress(trio.WouldBlock):  # a full queue wakes the reconciler anyway
            self.indexed.send_nowait(IndexedBatch(slot=0, owners=(), position=0))

    async def receive(self) -> list[str]:
        """Wait for a batch, then return the owners of everything queued."""
        batch = await self._batches.receive()
        return [*batch.owners, *self.take()]

    def take(self) -> list[str]:
        """Return the owners of everything queued, without waiting."""
        owners, self._requested = list(self._requested), set()
        try:
            while True:
                owners += self._batches.receive_nowait().owners
        except trio.WouldBlock:
            return owners

    def take_everything(self) -> bool:
        """Return whether all vaults were requested since the last call."""
        requested, self._everything = self._everything, False
        return requested
