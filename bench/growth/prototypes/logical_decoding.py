"""An outbox in the write-ahead log: messages of logical decoding, read from a replication slot.

A transaction writes its messages with `pg_logical_emit_message`, which locks nothing. The slot
hands them out by transaction in the order of commits, which the head row now enforces; the LSN of
the commit is the position. Only one reader may use a slot, so one process of a cluster would read
and hand on. It needs wal_level=logical.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg

EMIT = """
SELECT pg_logical_emit_message(true, 'outbox', %(text)s)
FROM generate_series(1, %(messages)s)
"""
CREATE = (
    "CREATE PUBLICATION outbox_messages",
    "SELECT pg_create_logical_replication_slot('outbox', 'pgoutput')",
)
DROP = "SELECT pg_drop_replication_slot('outbox')"
CHANGES = """
SELECT lsn, data
FROM pg_logical_slot_get_binary_changes(
    'outbox', NULL, 2000,
    'proto_version', '1', 'publication_names', 'outbox_messages', 'messages', 'true'
)
"""
PREFIX = b"outbox\0"


def read_all(conn: psycopg.Connection[Any]) -> tuple[int, float]:
    """Read what the slot holds; return the number of messages and the seconds."""
    count, begin = 0, time.perf_counter()
    while True:
        changes = conn.execute(CHANGES, binary=True).fetchall()
        if not changes:
            return count, time.perf_counter() - begin
        count += sum(_content(bytes(data)) is not None for _, data in changes)


def _content(change: bytes) -> bytes | None:
    """Return a message's content, or None for another change (begin, commit).

    pgoutput: 'M', flags (1 byte), LSN (8), prefix with a zero, length (4), content.
    """
    if change[:1] != b"M" or not change.startswith(PREFIX, 10):
        return None
    return change[10 + len(PREFIX) + 4 :]
