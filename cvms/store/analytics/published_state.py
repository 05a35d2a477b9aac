"""What subscribers of a topic about everything were told last, whichever replica told them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_one

# The row is there before it is locked, so that two who are first take turns as well.
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
    """What was told, nothing before the first time, and how long ago."""

    data: dict[str, Any]
    age: timedelta


async def lock(conn: Connection, topic: str) -> Published:
    """What was told last; nobody else tells until the transaction ends.

    Read what there is to tell only then, or an older state may be told after a newer one.
    """
    await conn.execute(PREPARE, {"topic": topic})
    last = await fetch_one(conn, Published, LOCK, {"topic": topic})
    assert last is not None
    return last


async def save(conn: Connection, topic: str, data: Mapping[str, Any]) -> None:
    """Note that this is told, in the transaction that does."""
    await conn.execute(SAVE, {"topic": topic, "data": Jsonb(dict(data))})
