"""Publication of totals over all vaults, as a metric and to subscribers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import trio

from cvms.chain.types import Commitment
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, TvlWakeup
from cvms.store.analytics import overview, published_state
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.messaging.topics import Topic
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import vaults

Read = Callable[[Connection], Awaitable[dict[str, Any]]]

MIN_POLL_SECONDS = 1.0
"""Limits the load on a busy chain, where every event wakes this task."""
TVL_MIN_INTERVAL = timedelta(seconds=0)
ANALYTICS_MIN_INTERVAL = timedelta(seconds=5)
"""Between two `analytics_update` messages, whichever replicas publish them."""


@dataclass(slots=True, kw_only=True, eq=False)
class TotalsPublisher:
    """Publishes `tvl_update` and `analytics_update` whenever their values change."""

    database: Database
    program: str
    wake: TvlWakeup
    outbox_wake: OutboxWakeup
    interval: float
    board: StatusBoard
    metrics: Metrics
    analytics_min_interval: timedelta = ANALYTICS_MIN_INTERVAL

    async def run(self) -> None:
        """Run once after each wake-up, and every `interval` seconds, until cancelled."""
        while True:
            with self.metrics.tasks.timed("balances"):
                complete = await self.run_once()
            self.board.task_succeeded("balances")
            await trio.sleep(MIN_POLL_SECONDS)
            soon = min(self.analytics_min_interval.total_seconds(), self.interval)
            await self.wake.wait(self.interval if complete else soon)

    async def run_once(self) -> bool:
        """Read the totals, set the gauge, and publish what has changed.

        Return False if a change was held back because the last message was too recent.
        """
        tvl = await self._publish(Topic.TVL, self._tvl, min_interval=TVL_MIN_INTERVAL)
        analytics = await self._publish(
            Topic.ANALYTICS, self._overview, min_interval=self.analytics_min_interval
        )
        return tvl and analytics

    async def _publish(self, topic: str, read: Read, *, min_interval: timedelta) -> bool:
        async with self.database.transaction() as conn:
            last = await published_state.lock(conn, topic)
            now = await read(conn)
            if _without_slot(now) == _without_slot(last.data):
                return True
            if last.age < min_interval:
                return False
            await published_state.save(conn, topic, now)
            await outbox.append(conn, [_message(topic, now)])
        self.outbox_wake.wake()
        return True

    async def _tvl(self, conn: Connection) -> dict[str, Any]:
        now = await vaults.tvl(conn)
        self.metrics.vaults.total_value_locked.set(now.total)
        self.metrics.vaults.active.set(now.vaults)
        return {"total": now.total, "vaults": now.vaults, "slot": now.slot}

    async def _overview(self, conn: Connection) -> dict[str, Any]:
        now: dict[str, Any] = msgspec.to_builtins(await overview.read(conn, self.program))
        return now


def _without_slot(data: dict[str, Any]) -> dict[str, Any]:
    """Drop the slot, which advances even if nothing else changes."""
    return {name: value for name, value in data.items() if name != "slot"}


def _message(topic: str, data: dict[str, Any]) -> OutboxMessage:
    return OutboxMessage(
        topic=topic,
        owner=None,
        slot=data["slot"] or 0,
        signature=None,
        commitment=Commitment.CONFIRMED,
        data=data,
    )
