"""Queue of vaults that the reconciler compares with the chain."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import trio

Owners = Sequence[str]
"""Owners of the vaults that a committed step of the indexer touched."""
MAX_QUEUED_BATCHES = 256
"""Batches that the reconciler has not received yet. When full, the indexer waits."""


class ReconcileQueue:
    """Vaults to compare: those of each indexed batch, and those that were requested."""

    def __init__(self) -> None:
        self.indexed, self._batches = trio.open_memory_channel[Owners](MAX_QUEUED_BATCHES)
        self._requested: set[str] = set()
        self._everything = False

    def request(self, owner: str | None) -> None:
        """Request a comparison of an owner's vault, or of all vaults with None. Never waits."""
        if owner is None:
            self._everything = True
        else:
            self._requested.add(owner)
        with suppress(trio.WouldBlock):  # a full queue wakes the reconciler anyway
            self.indexed.send_nowait(())

    async def receive(self) -> list[str]:
        """Wait for a batch, then return the owners of everything queued."""
        return [*await self._batches.receive(), *self.take()]

    def take(self) -> list[str]:
        """Return the owners of everything queued, without waiting."""
        owners, self._requested = list(self._requested), set()
        with suppress(trio.WouldBlock):
            while True:
                owners += self._batches.receive_nowait()
        return owners

    def take_everything(self) -> bool:
        """Return whether all vaults were requested since the last call."""
        requested, self._everything = self._everything, False
        return requested
