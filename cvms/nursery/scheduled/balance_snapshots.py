"""Hourly snapshots of the balance of every vault, including hours in which no service ran."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cvms.nursery.channels.status_board import StatusBoard
from cvms.store.index import cursor
from cvms.store.postgres.database import Database
from cvms.store.vaults import balance_snapshots

SNAPSHOT_SECONDS = 60.0
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HOURLY_AGE = timedelta(days=90)
"""How long every hour is kept. Midnights are kept forever."""
MARGIN = timedelta(seconds=60)
"""Longer than a healthy indexer needs to apply the end of an hour, forks included."""
SECONDS_PER_SLOT = 1
"""An upper bound."""
MAX_HOURS_PER_RUN = 100
"""So that filling a long gap does not slow down everything else."""


@dataclass(slots=True, kw_only=True, eq=False)
class SnapshotWriter:
    """Writes the hours that are over and indexed, each once even with two replicas."""

    database: Database
    program: str
    max_lag_slots: int
    board: StatusBoard

    async def run_once(self) -> int:
        """Write up to MAX_HOURS_PER_RUN hours that are due, oldest first, and return how many."""
        for written in range(MAX_HOURS_PER_RUN):
            if not await self._write_next():
                return written
        return MAX_HOURS_PER_RUN

    async def _write_next(self) -> bool:
        """Write the next hour, all vaults or none. Return False if none is due."""
        if not self.board.components["indexer"].ok:
            return False  # the end of the hour may not be indexed yet
        async with self.database.transaction() as conn:
            head = await balance_snapshots.lock(conn)
            # The chain's clock, which may be ahead of ours on a local chain.
            now = (await cursor.frontier(conn, self.program)).now
            last = head.at
            if last is None:
                if (first := await balance_snapshots.first_time(conn)) is None:
                    return False
                last = floor(first, HOUR)
            at = next_hour(last, now=now)
            margin = MARGIN + timedelta(seconds=self.max_lag_slots * SECONDS_PER_SLOT)
            if at + margin > now:
                return False
            # Once a day all vaults are read, for what was corrected later.
            today = at == floor(at, DAY) and at + DAY > now
            complete = today or head.changes_since is None
            return await balance_snapshots.write(conn, at, complete=complete)


def next_hour(last: datetime, *, now: datetime) -> datetime:
    """Return the hour to write after `last`: the next, or midnight where hours are not kept."""
    kept = ceiling(now - HOURLY_AGE, HOUR)
    return min(max(last + HOUR, kept), floor(last, DAY) + DAY)


def floor(time: datetime, step: timedelta) -> datetime:
    """Round a time down to its hour or day in UTC."""
    time = time.astimezone(UTC)
    return time - (time - datetime(2000, 1, 1, tzinfo=UTC)) % step


def ceiling(time: datetime, step: timedelta) -> datetime:
    """Round a time up to an hour or day in UTC."""
    whole = floor(time, step)
    return whole if whole == time else whole + step
