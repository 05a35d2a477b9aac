"""Last published value of each global topic, shared by all replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_exactly_one

# The row exists before it is locked, so that the first two publishers take turns as well.
PREPARE = """
INSERT INTO told (topic, data, told_at)
VALUES (%(topic)s, '{}', 'epoch')
ON CONFLICT (topic) DO NOTHING
"""

LOCK = """
SELECT data, clock_timestamp() - told_at AS age
FROM told
WHERE topic = %(topic)s
FOR UPDATE
"""

SAVE = """
UPDATE told
SET data = %(data)s,
    told_at = clock_timestamp()
WHERE topic = %(topic)s
"""


@dataclass(frozen=True, slots=True)
class Published:
    """The last published value, empty before the first, and its age."""

    data: dict[str, Any]
    age: timedelta


async def lock(conn: Connection, topic: str) -> Published:
    """Return the last published value; no one else publishes until the transaction ends.

    Read the new value only after this, or an older value may be published after a newer one.
    """
    await conn.execute(PREPARE, {"topic": topic})
    return await fetch_exactly_one(conn, Published, LOCK, {"topic": topic})


async def save(conn: Connection, topic: str, data: Mapping[str, Any]) -> None:
    """Save the value that this transaction publishes."""
    await conn.execute(SAVE, {"topic": topic, "data": Jsonb(dict(data))})
