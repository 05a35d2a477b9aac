"""Progress of the indexer."""

from __future__ import annotations

from cvms.chain.types import Slot


class IndexerProgress:
    """Slot up to which the database is known to be complete. Written by the indexer."""

    def __init__(self) -> None:
        self.slot: Slot | None = None
        """Every confirmed transaction of the program up to this slot is applied."""
        self.reached_at: float | None = None
        """When `slot` was last confirmed to be complete, in trio's time."""
        self.problem: str | None = None
        """Why the gap to the chain cannot be closed, if it cannot."""
