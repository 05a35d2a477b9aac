"""What one WebSocket client is subscribed to, and from which `seq` on.

The hub hears of a subscription before the database is read, and what it offers is held; the
topic's head and the snapshot come from one REPEATABLE READ transaction; then only events above that
head are passed on. So nothing lies between the snapshot and the first event, nothing is in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from psycopg import IsolationLevel

from cvms.errors import InvalidRequest
from cvms.http import replies
from cvms.http.ws_frames import Topic
from cvms.nursery.channels import Filter, OutboxFrame, outbox_frame
from cvms.nursery.ws_wire import text_frame
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

HELD_FRAMES = 256

# Of these only the newest matters: a client that lags is not told what was so in between.
CONFLATED = frozenset({"vault_balance_update", "tvl_update", "analytics_update"})


class Overflow(Exception):
    """More events came while a snapshot was under way than are held for one client."""


class Subscriptions:
    """The filters of one client: which events it gets, and from which `seq` on."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._from: dict[Filter, float] = {}
        self._starting = 0
        self._held: list[OutboxFrame] = []

    def pass_on(self, frame: OutboxFrame) -> bool:
        """Whether the client gets a frame now. One that comes while a snapshot is under way is
        held for `release`. Raises Overflow.
        """
        if not self._starting:
            return self._wanted(frame)
        if len(self._held) >= HELD_FRAMES:
            raise Overflow
        self._held.append(frame)
        return False

    def release(self) -> list[OutboxFrame]:
        """What was held and the client gets, once no snapshot is under way."""
        if self._starting:
            return []
        held, self._held = self._held, []
        return [frame for frame in held if self._wanted(frame)]

    def _wanted(self, frame: OutboxFrame) -> bool:
        all_from = self._from.get((frame.topic, None), math.inf)
        return frame.seq > min(all_from, self._from.get((frame.topic, frame.owner), math.inf))

    @contextmanager
    def starting(self, topic: str, owner: str | None) -> Iterator[None]:
        """Hold events while the block sends what comes before them; it ends with `begin`.

        Raises InvalidRequest when there are too many; then, and when the block fails, nothing is
        subscribed.
        """
        key: Filter = (topic, owner)
        if key not in self._from and len(self._from) >= self._limit:
            raise InvalidRequest(f"A connection has at most {self._limit} subscriptions.")
        self._from[key] = math.inf
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1
            if self._from.get(key) == math.inf:
                del self._from[key]

    def begin(self, topic: str, owner: str | None, seq: int) -> None:
        """The client has been brought up to `seq`."""
        self._from[topic, owner] = seq

    def owners(self, topic: str) -> list[str | None]:
        """For whom the client is subscribed to a topic."""
        return [owner for each, owner in self._from if each == topic]

    def remove(self, topic: str, owner: str | None) -> None:
        """No event of this subscription is passed on any more."""
        self._from.pop((topic, owner), None)


async def read_start(
    database: Database, topic: Topic, owner: str | None, since: int | None, *, program: str
) -> tuple[int, list[bytes]]:
    """The topic's head, and the frames that bring a client up to it.

    Raises DatabaseUnavailable.
    """
    async with database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
        head = await outbox.topic_head(conn, topic)
        if since is not None:
            missed = await _missed(conn, topic, owner, since=since, head=head)
            if missed is not None:
                return head, [_subscribed(topic, owner, since, None), *missed]
        snapshot = await _snapshot(conn, topic, owner, program)
    frames = [_subscribed(topic, owner, head, snapshot)]
    if since is not None:
        frames.insert(0, json_frame({"type": "reset", "topic": topic, "owner": owner}))
    return head, frames


async def _missed(
    conn: TrioConnection[Any], topic: Topic, owner: str | None, *, since: int, head: int
) -> list[bytes] | None:
    """The events after `since` up to `head`; None when they are not all there, or too many."""
    if since > head or head - since > REPLAY_LIMIT:
        return None
    rows = await outbox.topic_after(conn, topic, since, limit=REPLAY_LIMIT)
    if len(rows) != head - since:
        return None
    wanted = (row for row in rows if owner is None or row.owner == owner)
    return [outbox_frame(row).wire for row in wanted]


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


def _subscribed(topic: Topic, owner: str | None, seq: int, snapshot: Any) -> bytes:
    return json_frame(
        {"type": "subscribed", "topic": topic, "owner": owner, "seq": seq, "snapshot": snapshot}
    )


def json_frame(message: dict[str, Any]) -> bytes:
    """A message as a WebSocket frame."""
    return text_frame(msgspec.json.encode(message))
