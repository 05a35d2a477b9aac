"""Where a vault's row and the chain were found to differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all

MOST = 2**63 - 1
"""What a column holds."""

LOG = """
INSERT INTO reconciliation_logs (
    vault, owner, field, expected, actual, difference, chain_slot, row_slot, healed, cause
)
VALUES (
    %(vault)s, %(owner)s, %(field)s, %(expected)s, %(actual)s, %(difference)s, %(chain_slot)s,
    %(row_slot)s, %(healed)s, %(cause)s
)
"""

# Once a pass is enough for what cannot be healed; its amounts may move on meanwhile.
LOG_ONCE = """
INSERT INTO reconciliation_logs (
    vault, owner, field, expected, actual, difference, chain_slot, row_slot, healed, cause
)
SELECT %(vault)s, %(owner)s, %(field)s, %(expected)s, %(actual)s, %(difference)s, %(chain_slot)s,
       %(row_slot)s, %(healed)s, %(cause)s
WHERE NOT EXISTS (
    SELECT 1
    FROM reconciliation_logs AS told
    WHERE NOT %(healed)s
      AND told.owner = %(owner)s
      AND told.field = %(field)s
      AND told.difference = %(difference)s
      AND NOT told.healed
      AND told.created_at >= (SELECT started_at FROM reconciliation_pass)
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


def entry(
    *,
    vault: str,
    owner: str,
    field: str,
    expected: int | None,
    actual: int | None,
    chain_slot: int,
    row_slot: int | None = None,
    healed: bool,
    cause: str,
) -> ReconciliationEntry:
    """An entry with its difference, every amount as near as the columns come to it."""
    return ReconciliationEntry(
        vault=vault,
        owner=owner,
        field=field,
        expected=_column(expected),
        actual=_column(actual),
        difference=_column((expected or 0) - (actual or 0)) or 0,
        chain_slot=chain_slot,
        row_slot=row_slot,
        healed=healed,
        cause=cause,
    )


def _column(amount: int | None) -> int | None:
    """An account's sums may be twice what a column holds."""
    return None if amount is None else max(-MOST, min(amount, MOST))


async def log(conn: Connection, entry: ReconciliationEntry) -> None:
    """Keep `entry`."""
    await conn.execute(LOG, asdict(entry))


async def log_once(conn: Connection, entry: ReconciliationEntry) -> bool:
    """Keep `entry` unless it is one that this pass has told of already, unhealed; whether kept."""
    cursor = await conn.execute(LOG_ONCE, asdict(entry))
    return cursor.rowcount == 1


async def recent(conn: Connection, limit: int = 100) -> list[ReconciliationRow]:
    """The last `limit` entries, newest first."""
    return await fetch_all(conn, ReconciliationRow, RECENT, {"limit": limit})


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the entries older than `age`; returns how many."""
    cursor = await conn.execute(PRUNE, {"age": age})
    return cursor.rowcount
