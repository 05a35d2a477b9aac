"""First frames of a new subscription: a snapshot of the topic's state, or the missed events."""

from __future__ import annotations

from typing import Any

from psycopg import IsolationLevel

from cvms.http.framework import schemas
from cvms.http.multisig.proposal_view import proposal_event
from cvms.nursery.channels.hub import outbox_frame
from cvms.nursery.channels.websocket_frames import json_frame
from cvms.store.alerts import alerts, lifecycle
from cvms.store.analytics import overview
from cvms.store.messaging import outbox
from cvms.store.messaging.topics import KINDS_OF, Topic
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import multisig_proposals
from cvms.store.vaults import history, vaults

REPLAY_LIMIT = 1000  # events; a client that missed more gets a reset and a snapshot
SNAPSHOT_EVENTS = 20
SNAPSHOT_VAULTS = 500
SNAPSHOT_ALERTS = 100


async def read_snapshot_or_replay(
    database: Database, topic: Topic, owner: str | None, since: int | None, *, program: str
) -> tuple[int, int, list[bytes]]:
    """Return the outbox's last position, the topic's last `seq`, and the frames up to there.

    Raises DatabaseUnavailable.
    """
    async with database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
        position = await outbox.head(conn)
        head = await outbox.topic_head(conn, topic)
        if since is not None:
            missed = await _missed(conn, topic, owner, since=since, head=head)
            if missed is not None:
                return position, head, [_subscribed(topic, owner, since, None), *missed]
        snapshot = await _snapshot(conn, topic, owner, program)
    frames = [_subscribed(topic, owner, head, snapshot)]
    if since is not None:
        frames.insert(0, json_frame({"type": "reset", "topic": topic, "owner": owner}))
    return position, head, frames


async def _missed(
    conn: Connection, topic: Topic, owner: str | None, *, since: int, head: int
) -> list[bytes] | None:
    """Return the events after `since` up to `head`; None if some are gone or they are too many."""
    if since > head or head - since > REPLAY_LIMIT:
        return None
    rows = await outbox.topic_after(conn, topic, since, limit=REPLAY_LIMIT)
    if len(rows) != head - since:
        return None
    wanted = (row for row in rows if owner is None or row.owner == owner)
    return [outbox_frame(row).wire for row in wanted]


async def _snapshot(conn: Connection, topic: Topic, owner: str | None, program: str) -> Any:
    """Return the state that the topic's events change, limited to what one frame can hold."""
    if topic is Topic.ANALYTICS:
        return await overview.read(conn, program)
    readers = {Topic.ALERT: _alerts, Topic.BALANCE: _balances, Topic.MULTISIG: _proposals}
    if topic in readers:
        return await readers[topic](conn, owner)
    if topic is Topic.TVL:
        return schemas.reply_of(await vaults.tvl(conn), schemas.Tvl)
    if owner is None or topic is Topic.TRANSACTION:
        return None
    rows: list[history.HistoryRow] = []
    for kind in KINDS_OF[topic]:
        rows += await history.page(conn, owner, limit=SNAPSHOT_EVENTS, kind=kind)
    rows.sort(key=lambda row: row.id or 0, reverse=True)
    newest = [schemas.reply_of(row, schemas.Movement) for row in rows[:SNAPSHOT_EVENTS]]
    return {"transactions": newest}


async def _proposals(conn: Connection, owner: str | None) -> Any:
    if owner is None:
        return None
    unfinished = await multisig_proposals.unfinished(conn, owner)
    found = [await multisig_proposals.get(conn, each) for each in unfinished]
    return {"proposals": [proposal_event(each) for each in found if each is not None]}


async def _alerts(conn: Connection, owner: str | None) -> Any:
    rows = await alerts.page(conn, limit=SNAPSHOT_ALERTS + 1, state="unresolved", owner=owner)
    replies = [lifecycle.shown(row) for row in rows[:SNAPSHOT_ALERTS]]
    return {"alerts": replies, "complete": len(rows) == len(replies)}


async def _balances(conn: Connection, owner: str | None) -> Any:
    if owner is not None:
        row = await vaults.get(conn, owner)
        return None if row is None else schemas.reply_of(row, schemas.Balance)
    rows = await vaults.page(conn, limit=SNAPSHOT_VAULTS + 1)
    replies = [schemas.reply_of(row, schemas.Balance) for row in rows[:SNAPSHOT_VAULTS]]
    return {"vaults": replies, "complete": len(rows) == len(replies)}


def _subscribed(topic: Topic, owner: str | None, seq: int, snapshot: Any) -> bytes:
    return json_frame(
        {"type": "subscribed", "topic": topic, "owner": owner, "seq": seq, "snapshot": snapshot}
    )
