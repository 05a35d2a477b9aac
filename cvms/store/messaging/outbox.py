"""The messages for subscribers, in one order for all replicas.

`append` locks the head row until its transaction ends, so positions are contiguous and become
visible in order: a reader that asks for what follows the last position misses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    by_column,
    columns,
    fetch_all,
    fetch_column,
    fetch_value,
    json_array,
    query_for,
)

# The NOTIFY channel; the payload is the last position of the transaction that committed.
CHANNEL = "outbox"

RETENTION = timedelta(days=1)
"""How long a client may be disconnected and still resume without missing events."""

MessageType = Literal["event", "retracted"]
"""An event, or the notice that a fork has dropped one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxMessage:
    """A message for the subscribers of `topic`, or of `topic` and `owner`."""

    topic: str
    owner: str | None
    slot: int
    signature: str | None
    commitment: str
    type: MessageType = "event"
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow(OutboxMessage):
    """A stored message with its place among all messages (`position`) and in its topic (`seq`)."""

    position: int
    seq: int
    created_at: datetime


# Every CTE depends on `head`, so that its row is locked before any row of outbox_topics: all
# writers lock in the same order.
APPEND = query_for(
    OutboxMessage,
    """
    WITH head AS (
        UPDATE outbox_head
        SET position = position + cardinality(%(topic)s::TEXT[])
        RETURNING position - cardinality(%(topic)s::TEXT[]) AS base
    ), message AS (
        SELECT head.base + place AS position,
               row_number() OVER (PARTITION BY topic ORDER BY place) AS place_in_topic,
               {columns}
        FROM head,
             ROWS FROM (unnest({arrays}), jsonb_array_elements(%(data)s))
                 WITH ORDINALITY AS given ({columns}, place)
    ), topic_head AS (
        INSERT INTO outbox_topics (topic, seq)
        SELECT topic, count(*)
        FROM message
        GROUP BY topic
        ORDER BY topic
        ON CONFLICT (topic) DO UPDATE SET seq = outbox_topics.seq + EXCLUDED.seq
        RETURNING topic, seq
    ), message_count AS (
        SELECT topic, count(*) AS messages
        FROM message
        GROUP BY topic
    ), appended AS (
        INSERT INTO outbox (position, seq, {columns})
        SELECT message.position,
               topic_head.seq - message_count.messages + message.place_in_topic,
               {columns:message}
        FROM message
        JOIN topic_head USING (topic)
        JOIN message_count USING (topic)
        RETURNING position
    ), last AS (
        SELECT max(position) AS position
        FROM appended
    )
    SELECT position, pg_notify(%(channel)s, position::TEXT)
    FROM last
    """,
)

AFTER = query_for(
    OutboxRow,
    """
    SELECT {columns}
    FROM outbox
    WHERE position > %(position)s
    ORDER BY position
    LIMIT %(limit)s
    """,
)

TOPIC_AFTER = query_for(
    OutboxRow,
    """
    SELECT {columns}
    FROM outbox
    WHERE topic = %(topic)s
      AND seq > %(seq)s
    ORDER BY seq
    LIMIT %(limit)s
    """,
)

HEAD = """
SELECT position
FROM outbox_head
"""

SKIP = """
WITH topic_head AS (
    INSERT INTO outbox_topics (topic, seq)
    SELECT topic, %(count)s
    FROM unnest(%(topics)s::TEXT[]) AS given (topic)
    ON CONFLICT (topic) DO UPDATE SET seq = outbox_topics.seq + EXCLUDED.seq
)
UPDATE outbox_head
SET position = position + %(count)s
RETURNING position - %(count)s
"""

OWNERS_AFTER = """
SELECT DISTINCT owner
FROM outbox
WHERE position > %(position)s
  AND position <= %(head)s
  AND topic = ANY(%(topics)s)
"""

TOPIC_HEAD = """
SELECT seq
FROM outbox_topics
WHERE topic = %(topic)s
"""

OF_TRANSACTIONS = query_for(
    OutboxMessage,
    """
    SELECT {columns}
    FROM outbox
    WHERE owner = %(owner)s
      AND signature = ANY(%(signatures)s)
      AND topic = ANY(%(topics)s)
    ORDER BY position
    """,
)

KEPT_SINCE = "SELECT now() - %(age)s"

PRUNE = """
DELETE FROM outbox
WHERE created_at < now() - %(age)s
"""


async def append(conn: Connection, messages: Sequence[OutboxMessage]) -> int:
    """Append the messages in the order given; return the position of the last one.

    Other writers wait until the transaction ends: append last, and end it soon.
    """
    if not messages:
        return await head(conn)
    values = by_column(messages, columns(OutboxMessage, without={"data"}))
    data = json_array(message.data for message in messages)
    return int(await fetch_value(conn, APPEND, {**values, "data": data, "channel": CHANNEL}))


async def after(conn: Connection, position: int, limit: int = 1000) -> list[OutboxRow]:
    """Return up to `limit` messages after `position`, in order."""
    return await fetch_all(conn, OutboxRow, AFTER, {"position": position, "limit": limit})


async def topic_after(conn: Connection, topic: str, seq: int, limit: int = 1000) -> list[OutboxRow]:
    """Return up to `limit` messages of `topic` after `seq`, in order.

    If the first one's seq is not `seq + 1`, those in between are pruned: start over.
    """
    params = {"topic": topic, "seq": seq, "limit": limit}
    return await fetch_all(conn, OutboxRow, TOPIC_AFTER, params)


async def head(conn: Connection) -> int:
    """Return the last position, 0 before the first message."""
    return int(await fetch_value(conn, HEAD))


async def skip(conn: Connection, count: int, *, topics: Sequence[str]) -> int:
    """Leave out the next `count` positions, and seqs of these topics; return the last position."""
    return int(await fetch_value(conn, SKIP, {"count": count, "topics": list(topics)}))


async def owners_after(
    conn: Connection, position: int, *, head: int, topics: Sequence[str]
) -> list[str | None]:
    """Return the owners in the messages of some topics after `position`, up to `head`."""
    params = {"position": position, "head": head, "topics": list(topics)}
    return await fetch_column(conn, OWNERS_AFTER, params)


async def topic_head(conn: Connection, topic: str) -> int:
    """Return the last seq of `topic`, 0 before its first message."""
    return int(await fetch_value(conn, TOPIC_HEAD, {"topic": topic}) or 0)


async def of_transactions(
    conn: Connection, *, owner: str, signatures: Sequence[str], topics: Sequence[str]
) -> list[OutboxMessage]:
    """Return the messages of an owner about these transactions, in order."""
    params = {"owner": owner, "signatures": list(signatures), "topics": list(topics)}
    return await fetch_all(conn, OutboxMessage, OF_TRANSACTIONS, params)


async def kept_since(conn: Connection) -> datetime:
    """Return the time since when no message has been pruned."""
    since: datetime = await fetch_value(conn, KEPT_SINCE, {"age": RETENTION})
    return since


async def prune(conn: Connection, age: timedelta = RETENTION) -> int:
    """Delete the messages older than `age`; return how many. Positions and seqs continue."""
    return (await conn.execute(PRUNE, {"age": age})).rowcount
