"""Write down what every vault held on each hour, once, also for the hours when nothing ran."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import trio

from cvms.nursery.channels.status_board import StatusBoard
from cvms.store.index import cursor
from cvms.store.postgres.database import Database
from cvms.store.vaults import balance_snapshots

POLL_SECONDS = 60.0
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HOURLY_AGE = timedelta(days=90)
"""For how long every hour is kept; midnights are for good."""
MARGIN = timedelta(seconds=60)
"""More than an indexer that is not behind needs for what an hour ended with, forks included."""
SECONDS_PER_SLOT = 1
"""More than a slot takes."""
MAX_HOURS_PER_RUN = 100
"""Hours in a row: a long while that was missed is not filled at the cost of everybody else."""


class SnapshotWriter:
    """Writes the hours that are over and indexed. Two replicas write each of them once."""

    def __init__(
        self, *, database: Database, program: str, max_lag_slots: int, board: StatusBoard
    ) -> None:
        self._database = database
        self._program = program
        self._margin = MARGIN + timedelta(seconds=max_lag_slots * SECONDS_PER_SLOT)
        self._board = board

    async def run(self) -> None:
        """Look now and then until cancelled."""
        while True:
            await self.run_once()
            self._board.task_succeeded("snapshots")
            await trio.sleep(POLL_SECONDS)

    async def run_once(self) -> int:
        """Write the hours that are due, oldest first; returns how many."""
        for written in range(MAX_HOURS_PER_RUN):
            if not await self._write_next():
                return written
        return MAX_HOURS_PER_RUN

    async def _write_next(self) -> bool:
        """Write one hour, all of it or nothing."""
        if not self._board.components["indexer"].ok:
            return False  # behind: what an hour ended with may not be indexed yet
        async with self._database.transaction() as conn:
            head = await balance_snapshots.lock(conn)
            # A local chain's clock may be ahead of ours.
            now = (await cursor.frontier(conn, self._program)).now
            last = head.at
            if last is None:
                first = await balance_snapshots.first_time(conn)
                if first is None:
                    return False
                last = floor(first, HOUR)
            at = next_hour(last, now=now)
            return at + self._margin <= now and await balance_snapshots.write(conn, at)


def next_hour(last: datetime, *, now: datetime) -> datetime:
    """The hour to write after `last`: the next one, or of those that are not kept, midnight."""
    kept = ceiling(now - HOURLY_AGE, HOUR)
    return min(max(last + HOUR, kept), floor(last, DAY) + DAY)


def floor(time: datetime, step: timedelta) -> datetime:
    """The hour or day (UTC) that the time is in."""
    time = time.astimezone(UTC)
    return time - (time - datetime(2000, 1, 1, tzinfo=UTC)) % step


def ceiling(time: datetime, step: timedelta) -> datetime:
    """The first hour or day (UTC) that is not before the time."""
    whole = floor(time, step)
    return whole if whole == time else whole + step
