"""Progress of the indexer."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from cvms.chain.types import Slot

DEAF_SECONDS = 120.0
UNANNOUNCED_RUNS = 20
"""Runs in a row that found transactions of which no node has sent a notice."""


@dataclass(slots=True)
class Hearing:
    """Whether notices of transactions arrive. `since`: when the last one came or was to begin.

    The indexer polls too, so that without notices it is only slower.
    """

    listening: bool = False
    subscribed: bool = False
    since: float = 0.0
    unannounced: int = 0

    def expect(self) -> None:
        """Begin to expect notices; also after the subscription was lost."""
        if self.subscribed or not self.listening:
            self.since = trio.current_time()
        self.listening, self.subscribed = True, False

    def heard(self) -> None:
        """Record that something has arrived."""
        self.subscribed, self.since, self.unannounced = True, trio.current_time(), 0

    def problem(self) -> str | None:
        """Return what is wrong for two minutes, None if nothing is, or nothing is expected."""
        seconds = trio.current_time() - self.since
        if not self.listening or seconds < DEAF_SECONDS:
            return None
        if not self.subscribed:
            return f"no node has accepted the subscription for {seconds:.0f} seconds"
        if self.unannounced < UNANNOUNCED_RUNS:
            return None
        return f"no notice for {seconds:.0f} seconds, in which polls found transactions"


class IndexerProgress:
    """Slot up to which the database is known to be complete. Written by the indexer."""

    def __init__(self) -> None:
        self._slot: Slot | None = None
        self._moved = trio.Event()
        self.hearing = Hearing()
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
