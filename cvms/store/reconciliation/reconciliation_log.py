"""The log of differences between vaults' rows and the chain."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, query_for
from cvms.store.postgres.text import storable

MAX_BIGINT = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationEntry:
    """One field that differed: `expected` is the chain's, `actual` the row's; None where missing.

    `difference` is expected minus actual. `healed` says whether the row was corrected at once.
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
class ReconciliationRow(ReconciliationEntry):
    """An entry as stored."""

    id: int
    created_at: datetime


LOG = query_for(
    ReconciliationEntry,
    """
    INSERT INTO reconciliation_logs ({columns})
    VALUES ({values})
    """,
)

# What cannot be healed is logged once in a pass: the amounts may change, the difference stays.
LOG_ONCE = query_for(
    ReconciliationEntry,
    """
    INSERT INTO reconciliation_logs ({columns})
    SELECT {values}
    WHERE NOT EXISTS (
        SELECT 1
        FROM reconciliation_logs AS logged
        WHERE NOT %(healed)s
          AND logged.owner = %(owner)s
          AND logged.field = %(field)s
          AND logged.difference = %(difference)s
          AND NOT logged.healed
          AND logged.created_at >= (SELECT started_at FROM reconciliation_pass)
    )
    """,
)

RECENT = query_for(
    ReconciliationRow,
    """
    SELECT {columns}
    FROM reconciliation_logs
    ORDER BY id DESC
    LIMIT %(limit)s
    """,
)

PRUNE = """
DELETE FROM reconciliation_logs
WHERE created_at < now() - %(age)s
"""


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
    """Return an entry with its difference, each amount clamped to what the columns can hold."""
    return ReconciliationEntry(
        vault=vault,
        owner=owner,
        field=field,
        expected=_clamp(expected),
        actual=_clamp(actual),
        difference=_clamp((expected or 0) - (actual or 0)) or 0,
        chain_slot=chain_slot,
        row_slot=row_slot,
        healed=healed,
        cause=storable(cause),
    )


def _clamp(amount: int | None) -> int | None:
    """The sums of an account may be twice as large as a BIGINT."""
    return None if amount is None else max(-MAX_BIGINT, min(amount, MAX_BIGINT))


async def log(conn: Connection, entry: ReconciliationEntry) -> None:
    """Store `entry`."""
    await conn.execute(LOG, asdict(entry))


async def log_once(conn: Connection, entry: ReconciliationEntry) -> bool:
    """Store `entry` unless this pass has logged it already, unhealed; return whether it did."""
    return (await conn.execute(LOG_ONCE, asdict(entry))).rowcount == 1


async def recent(conn: Connection, limit: int = 100) -> list[ReconciliationRow]:
    """Return the last `limit` entries, newest first."""
    return await fetch_all(conn, ReconciliationRow, RECENT, {"limit": limit})


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the entries older than `age`; return how many."""
    return (await conn.execute(PRUNE, {"age": age})).rowcount
