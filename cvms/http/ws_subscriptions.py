"""What one WebSocket client is subscribed to, and from which `seq` on.

The hub hears of a subscription before the database is read; the topic's head and the snapshot come
from one REPEATABLE READ transaction; then only events above that head are passed on. So nothing
lies between the snapshot and the first event, and nothing is in both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio
from psycopg import IsolationLevel

from cvms.errors import InvalidRequest
from cvms.http import replies
from cvms.http.ws_frames import Topic
from cvms.nursery.channels import OutboxFrame, Subscriber, outbox_frame
from cvms.store import alert_books, alerts, history, outbox, overview, vaults
from cvms.store.connection import TrioConnection
from cvms.store.database import Database

REPLAY_LIMIT = 1000  # events; a client that missed more starts over
SNAPSHOT_EVENTS = 20
SNAPSHOT_VAULTS = 500
SNAPSHOT_ALERTS = 100

# The kinds of history rows whose events a topic carries.
KINDS: dict[str, tuple[str, ...]] = {
    "deposit_event": ("deposit",),
    "withdraw_event": ("withdraw", "emergency_withdraw"),
    "lock_event": ("lock",),
    "unlock_event": ("unlock",),
    "transfer_event": ("transfer_in", "transfer_out"),
    "timelock_event": ("timelock", "timelock_release"),
    "yield_event": ("yield_deposit", "yield_withdraw", "yield_compound"),
}

Filter = tuple[str, str | None]


class Subscriptions:
    """The filters of one client. Used by its reader and its pump only."""

    def __init__(self, database: Database, *, program: str, limit: int) -> None:
        self._database = database
        self._program = program
        self._limit = limit
        self._started: dict[Filter, _Start] = {}

    async def want(self, frame: OutboxFrame) -> bool:
        """Whether to pass a frame on; waits while its subscription's snapshot is being sent."""
        filters: set[Filter] = {(frame.topic, None), (frame.topic, frame.owner)}
        starts = [self._started[each] for each in filters if each in self._started]
        for start in starts:
            await start.sent.wait()
        return any(start.seq is not None and frame.seq > start.seq for start in starts)

    @asynccontextmanager
    async def added(
        self, subscriber: Subscriber, topic: Topic, owner: str | None, since: int | None
    ) -> AsyncIterator[list[str]]:
        """Subscribe; the block sends the frames it is given, then live events may follow.

        Raises InvalidRequest when there are too many, DatabaseUnavailable; then nothing is
        subscribed.
        """
        key: Filter = (topic, owner)
        if key not in self._started and len(self._started) >= self._limit:
            raise InvalidRequest(f"A connection has at most {self._limit} subscriptions.")
        start = self._started[key] = _Start()
        subscriber.subscribe(topic, owner)
        try:
            seq, frames = await self._read(topic, owner, since)
            yield frames
            start.seq = seq
        except BaseException:
            self.remove(subscriber, topic, owner)
            raise
        finally:
            start.sent.set()

    def remove(self, subscriber: Subscriber, topic: str, owner: str | None) -> None:
        """Undo `added`; no event of this subscription is passed on any more."""
        self._started.pop((topic, owner), None)
        subscriber.unsubscribe(topic, owner)

    def remove_topic(self, subscriber: Subscriber, topic: str) -> None:
        """Undo every `added` of a topic."""
        for each, owner in [key for key in self._started if key[0] == topic]:
            self.remove(subscriber, each, owner)

    async def _read(
        self, topic: Topic, owner: str | None, since: int | None
    ) -> tuple[int, list[str]]:
        """The topic's head and the frames that bring the client up to it."""
        async with self._database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
            head = await outbox.topic_head(conn, topic)
            if since is not None:
                missed = await _missed(conn, topic, owner, since=since, head=head)
                if missed is not None:
                    return head, [_subscribed(topic, owner, since, None), *missed]
            snapshot = await _snapshot(conn, topic, owner, self._program)
        frames = [_subscribed(topic, owner, head, snapshot)]
        if since is not None:
            frames.insert(0, _json({"type": "reset", "topic": topic, "owner": owner}))
        return head, frames


class _Start:
    """Where a subscription begins: events above `seq`, once what comes before is `sent`."""

    def __init__(self) -> None:
        self.seq: int | None = None
        self.sent = trio.Event()


async def _missed(
    conn: TrioConnection[Any], topic: Topic, owner: str | None, *, since: int, head: int
) -> list[str] | None:
    """The events after `since` up to `head`; None when they are not all there, or too many."""
    if since > head or head - since > REPLAY_LIMIT:
        return None
    rows = await outbox.topic_after(conn, topic, since, limit=REPLAY_LIMIT)
    if len(rows) != head - since:
        return None
    wanted = (row for row in rows if owner is None or row.owner == owner)
    return [outbox_frame(row).payload.decode() for row in wanted]


async def _snapshot(
    conn: TrioConnection[Any], topic: Topic, owner: str | None, program: str
) -> Any:
    """The state that the topic's events change, as far as one frame can hold it."""
    if topic == "analytics_update":
        return await overview.read(conn, program)
    if topic == "security_alert":
        return await _alerts(conn, owner)
    if topic == "tvl_update":
        return replies.tvl(await vaults.tvl(conn))
    if topic == "vault_balance_update":
        return await _balances(conn, owner)
    if owner is None or topic == "transaction_update":
        return None
    rows: list[history.HistoryRow] = []
    for kind in KINDS[topic]:
        rows += await history.page(conn, owner, limit=SNAPSHOT_EVENTS, kind=kind)
    rows.sort(key=lambda row: row.id or 0, reverse=True)
    return {"transactions": [replies.movement(row) for row in rows[:SNAPSHOT_EVENTS]]}


async def _alerts(conn: TrioConnection[Any], owner: str | None) -> Any:
    rows = await alerts.page(conn, limit=SNAPSHOT_ALERTS + 1, state="unresolved", owner=owner)
    shown = [alert_books.shown(row) for row in rows[:SNAPSHOT_ALERTS]]
    return {"alerts": shown, "complete": len(rows) == len(shown)}


async def _balances(conn: TrioConnection[Any], owner: str | None) -> Any:
    if owner is not None:
        row = await vaults.get(conn, owner)
        return None if row is None else replies.balance(row)
    rows = await vaults.page(conn, limit=SNAPSHOT_VAULTS + 1)
    shown = rows[:SNAPSHOT_VAULTS]
    return {"vaults": [replies.balance(row) for row in shown], "complete": len(rows) == len(shown)}


def _subscribed(topic: Topic, owner: str | None, seq: int, snapshot: Any) -> str:
    return _json(
        {"type": "subscribed", "topic": topic, "owner": owner, "seq": seq, "snapshot": snapshot}
    )


def _json(frame: dict[str, Any]) -> str:
    return msgspec.json.encode(frame).decode()
