"""Deletion of many rows in statements that each delete a few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString

from cvms.store.postgres.driver.connection import Connection

BATCH = 10_000
"""Rows deleted by one statement: no lock is held for long, and no work is lost at a timeout."""


async def delete_in_batches(
    conn: Connection, query: LiteralString, params: Mapping[str, Any]
) -> int:
    """Repeat a DELETE of up to %(limit)s rows until it finds fewer; return how many it deleted."""
    deleted = 0
    while True:
        count = (await conn.execute(query, {**params, "limit": BATCH})).rowcount
        deleted += count
        if count < BATCH:
            return deleted
