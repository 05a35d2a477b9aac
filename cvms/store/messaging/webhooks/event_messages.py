"""The messages that endpoints get: one for each event of a vault in the outbox.

Nothing is stored for a message. Its id follows from the endpoint and the row of the outbox, so it
is the same each time the message is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from cvms.store.messaging.outbox import OutboxRow
from cvms.store.messaging.topics import Topic
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, query_for

TOPICS = (
    Topic.DEPOSIT,
    Topic.WITHDRAW,
    Topic.LOCK,
    Topic.UNLOCK,
    Topic.TRANSFER,
    Topic.TIMELOCK,
    Topic.YIELD,
    Topic.TRANSACTION,
)
"""Topics whose events endpoints may get. Each has an owner."""

MAX_AGE = timedelta(days=1)
"""How long a message is tried. As long as the outbox keeps its event."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_POSITION_BITS = 48
_HASH_BITS = 80

# The last two conditions of a query for one vault are those of the index outbox_by_owner.

AFTER = query_for(
    OutboxRow,
    """
    SELECT {columns}
    FROM outbox
    WHERE position > %(after)s
      AND position <= %(until)s
      AND topic = ANY(%(topics)s)
      AND owner IS NOT NULL
    ORDER BY position
    LIMIT %(limit)s
    """,
)

AFTER_OF_OWNER = query_for(
    OutboxRow,
    """
    SELECT {columns}
    FROM outbox
    WHERE owner = %(owner)s
      AND position > %(after)s
      AND position <= %(until)s
      AND topic = ANY(%(topics)s)
      AND position > 0
      AND topic NOT IN ('vault_balance_update', 'vault_row_written')
    ORDER BY position
    LIMIT %(limit)s
    """,
)

BEFORE = query_for(
    OutboxRow,
    """
    SELECT {columns}
    FROM outbox
    WHERE position < %(before)s
      AND topic = ANY(%(topics)s)
      AND created_at >= %(since)s
      AND owner IS NOT NULL
    ORDER BY position DESC
    LIMIT %(limit)s
    """,
)

BEFORE_OF_OWNER = query_for(
    OutboxRow,
    """
    SELECT {columns}
    FROM outbox
    WHERE owner = %(owner)s
      AND position < %(before)s
      AND topic = ANY(%(topics)s)
      AND created_at >= %(since)s
      AND position > 0
      AND topic NOT IN ('vault_balance_update', 'vault_row_written')
    ORDER BY position DESC
    LIMIT %(limit)s
    """,
)

# Each vault's first events from the one on that it is held at.
HELD = query_for(
    OutboxRow,
    """
    SELECT {columns:event}
    FROM webhook_held_vaults AS held
    CROSS JOIN LATERAL (
        SELECT *
        FROM outbox
        WHERE outbox.owner = held.owner
          AND outbox.position >= held.position
          AND outbox.position <= %(until)s
          AND topic = ANY(%(topics)s)
          AND position > 0
          AND topic NOT IN ('vault_balance_update', 'vault_row_written')
        ORDER BY outbox.position
        LIMIT %(limit)s
    ) AS event
    WHERE held.endpoint = %(endpoint)s
      AND held.owner = ANY(%(owners)s)
    ORDER BY event.position
    """,
)

AT = query_for(
    OutboxRow,
    """
    SELECT {columns}
    FROM outbox
    WHERE position = %(position)s
    """,
)

OF_SIGNATURES = query_for(
    OutboxRow,
    """
    SELECT {columns}
    FROM outbox
    WHERE signature = ANY(%(signatures)s)
      AND position <= %(until)s
      AND topic = ANY(%(topics)s)
    ORDER BY position
    """,
)


class EventData(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a message. `event` is what subscribers of the topic get on the WebSocket.

    `retracts`: the id of the message whose event a fork has dropped, in a message that says so.
    """

    owner: str
    topic: str
    seq: int
    slot: int
    signature: str | None
    commitment: str
    retracts: str | None
    event: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMessage:
    """A message to an endpoint. `id` is the header `webhook-id`, `body` is JSON."""

    id: UUID
    type: str
    body: str
    row: OutboxRow


def message_id(endpoint: str, row: OutboxRow) -> UUID:
    """Return the id of an event's message: a UUID of version 8 that begins with the position."""
    microseconds = (row.created_at - _EPOCH) // _MICROSECOND
    digest = hashlib.sha256(f"{endpoint}:{row.position}:{microseconds}".encode()).digest()
    number = row.position << _HASH_BITS | int.from_bytes(digest[: _HASH_BITS // 8])
    number = number & ~(0xF << 76) | 8 << 76  # the version
    return UUID(int=number & ~(0x3 << 62) | 2 << 62)  # the variant


def position_of(message: UUID) -> int:
    """Return the position in the outbox that is part of a message's id."""
    return message.int >> _HASH_BITS


def event_type(row: OutboxRow) -> str:
    """Return the type of an event's message: its topic, or that with `.retracted`."""
    return row.topic if row.type == "event" else f"{row.topic}.{row.type}"


def event_message(
    endpoint: str, row: OutboxRow, retracted: Mapping[int, OutboxRow]
) -> EventMessage:
    """Return the message of an event. `retracted` has, by position, the events taken back."""
    dropped = retracted.get(row.position)
    data = EventData(
        owner=row.owner or "",
        topic=row.topic,
        seq=row.seq,
        slot=row.slot,
        signature=row.signature,
        commitment=row.commitment,
        retracts=None if dropped is None else str(message_id(endpoint, dropped)),
        event=row.data,
    )
    body = {"type": event_type(row), "timestamp": row.created_at.isoformat(), "data": data}
    return EventMessage(
        id=message_id(endpoint, row),
        type=event_type(row),
        body=msgspec.json.encode(body).decode(),
        row=row,
    )


async def after(
    conn: Connection,
    position: int,
    *,
    until: int,
    owner: str | None,
    topics: Sequence[str],
    limit: int,
) -> list[OutboxRow]:
    """Return up to `limit` events after `position`, up to `until`, of all vaults or of one."""
    params = {"after": position, "until": until, "topics": list(topics), "limit": limit}
    if owner is None:
        return await fetch_all(conn, OutboxRow, AFTER, params)
    return await fetch_all(conn, OutboxRow, AFTER_OF_OWNER, params | {"owner": owner})


async def before(
    conn: Connection,
    position: int,
    *,
    since: datetime,
    owner: str | None,
    topics: Sequence[str],
    limit: int,
) -> list[OutboxRow]:
    """Return up to `limit` events before `position`, newest first, of all vaults or of one.

    None is older than `since`.
    """
    params = {"before": position, "since": since, "topics": list(topics), "limit": limit}
    if owner is None:
        return await fetch_all(conn, OutboxRow, BEFORE, params)
    return await fetch_all(conn, OutboxRow, BEFORE_OF_OWNER, params | {"owner": owner})


async def held(
    conn: Connection,
    endpoint: str,
    owners: Sequence[str],
    *,
    until: int,
    topics: Sequence[str],
    limit: int,
) -> list[OutboxRow]:
    """Return up to `limit` events of each of these vaults, from where each is held, in order."""
    params = {"endpoint": endpoint, "owners": list(owners), "until": until, "limit": limit}
    return await fetch_all(conn, OutboxRow, HELD, params | {"topics": list(topics)})


async def at(conn: Connection, position: int) -> OutboxRow | None:
    """Return the row at a position, None if it is pruned."""
    rows = await fetch_all(conn, OutboxRow, AT, {"position": position})
    return rows[0] if rows else None


async def retracted_events(conn: Connection, rows: Sequence[OutboxRow]) -> dict[int, OutboxRow]:
    """Return, by the position of each retraction among `rows`, the event that it takes back."""
    retractions = [row for row in rows if row.type == "retracted"]
    if not retractions:
        return {}
    params = {
        "signatures": list({row.signature for row in retractions}),
        "until": max(row.position for row in retractions),
        "topics": list(TOPICS),
    }
    return pair_retractions(await fetch_all(conn, OutboxRow, OF_SIGNATURES, params))


def pair_retractions(rows: Sequence[OutboxRow]) -> dict[int, OutboxRow]:
    """Return, by the position of each retraction, the last equal event not taken back before.

    A transaction that a fork has dropped may land again, and be dropped again. `rows` are in order.
    """
    standing: dict[tuple[object, ...], list[OutboxRow]] = {}
    pairs = {}
    for row in rows:
        same = (row.topic, row.owner, row.slot, row.signature, msgspec.json.encode(row.data))
        events = standing.setdefault(same, [])
        if row.type == "event":
            events.append(row)
        elif events:
            pairs[row.position] = events.pop()
    return pairs
