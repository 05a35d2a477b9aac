"""Where a vault's row and the chain were found to differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from cvms.store.connection import TrioConnection
from cvms.store.rows import fetch_all

LOG = """
INSERT INTO reconciliation_logs (
    vault, owner, field, expected, actual, difference, chain_slot, row_slot, healed, cause
)
VALUES (
    %(vault)s, %(owner)s, %(field)s, %(expected)s, %(actual)s, %(difference)s, %(chain_slot)s,
    %(row_slot)s, %(healed)s, %(cause)s
)
"""

RECENT = """
SELECT id, vault, owner, field, expected, actual, difference, chain_slot, row_slot, healed, cause,
       created_at
FROM reconciliation_logs
ORDER BY id DESC
LIMIT %(limit)s
"""

PRUNE = """
DELETE FROM reconciliation_logs
WHERE created_at < now() - %(age)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationEntry:
    """One field that differed: `expected` is the chain's, `actual` the row's; None where missing.

    `difference` is expected minus actual. `healed` says whether the row was set right at once.
    """

    vault: str
    owner: str
    field: str
    expected: int | None
    actual: int | None
    difference: int
    chain_slot: int
    row_slot: int | None
    healed: bool
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationRow:
    """An entry as stored."""

    id: int
    vault: str
    owner: str
    field: str
    expected: int | None
    actual: int | None
    difference: int
    chain_slot: int
    row_slot: int | None
    healed: bool
    cause: str
    created_at: datetime


async def log(conn: TrioConnection[Any], entry: ReconciliationEntry) -> None:
    """Keep `entry`."""
    await conn.execute(LOG, asdict(entry))


async def recent(conn: TrioConnection[Any], limit: int = 100) -> list[ReconciliationRow]:
    """The last `limit` entries, newest first."""
    return await fetch_all(conn, ReconciliationRow, RECENT, {"limit": limit})


async def prune(conn: TrioConnection[Any], age: timedelta) -> int:
    """Delete the entries older than `age`; returns how many."""
    cursor = await conn.execute(PRUNE, {"age": age})
    return cursor.rowcount
