"""How far the books are known to be complete."""

from __future__ import annotations

from cvms.chain.types import Slot


class IndexerProgress:
    """Written by the indexer, read by whoever has to know whether the books are complete."""

    def __init__(self) -> None:
        self.slot: Slot | None = None
        """Every confirmed transaction of the program up to here is applied."""
        self.reached_at: float | None = None
        """When that was found last, by the clock of the nursery."""
        self.problem: str | None = None
        """Why the gap cannot be closed, if so."""
