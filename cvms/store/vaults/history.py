"""The history of each vault: what moved, in the order it happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, columns, fetch_all, query_for


class Kind(StrEnum):
    """Kind of a history row. A CHECK of the table refuses other kinds."""

    DEPOSIT = "deposit"
    WITHDRAW = "withdraw"
    EMERGENCY_WITHDRAW = "emergency_withdraw"
    LOCK = "lock"
    UNLOCK = "unlock"
    TRANSFER_IN = "transfer_in"
    TRANSFER_OUT = "transfer_out"
    TIMELOCK = "timelock"
    TIMELOCK_RELEASE = "timelock_release"
    YIELD_DEPOSIT = "yield_deposit"
    YIELD_WITHDRAW = "yield_withdraw"
    YIELD_COMPOUND = "yield_compound"


MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The factor by which a row's amount changes each of the vault's balances."""

    total: int = 0
    available: int = 0
    locked: int = 0
    timelocked: int = 0
    yield_deposited: int = 0


EFFECTS: Mapping[str, Effect] = {
    Kind.DEPOSIT: Effect(total=1, available=1),
    Kind.WITHDRAW: Effect(total=-1, available=-1),
    # What is available goes first, then what is locked: see nursery/ledger/running_balances.py.
    Kind.EMERGENCY_WITHDRAW: Effect(total=-1, available=-1),
    Kind.LOCK: Effect(available=-1, locked=1),
    Kind.UNLOCK: Effect(available=1, locked=-1),
    Kind.TRANSFER_IN: Effect(total=1, available=1),
    Kind.TRANSFER_OUT: Effect(total=-1, available=-1),
    Kind.TIMELOCK: Effect(available=-1, timelocked=1),
    Kind.TIMELOCK_RELEASE: Effect(available=1, timelocked=-1),
    Kind.YIELD_DEPOSIT: Effect(available=-1, yield_deposited=1),
    Kind.YIELD_WITHDRAW: Effect(available=1, yield_deposited=-1),
    Kind.YIELD_COMPOUND: Effect(total=1, yield_deposited=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One movement in one vault. The database sets `id`; leave it out when adding."""

    owner: str
    vault: str
    kind: str
    amount: int
    balance_after: int | None
    slot: int
    block_time: datetime | None
    signature: str
    instruction_index: int
    ordinal: int
    commitment: str
    id: int | None = None

    @property
    def identity(self) -> tuple[str, int, int]:
        """The identity of its event."""
        return self.signature, self.instruction_index, self.ordinal


ADD = query_for(
    HistoryRow,
    """
    INSERT INTO transactions ({columns})
    SELECT {columns}
    FROM unnest({arrays}) WITH ORDINALITY AS entry ({columns}, place)
    ORDER BY place
    ON CONFLICT (signature, instruction_index, ordinal, owner, kind) DO NOTHING
    """,
    without={"id"},
)

# A page continues after the row `before_id`. If that was removed since, it continues after the row
# that was recorded before it.
PAGE = query_for(
    HistoryRow,
    """
    SELECT {columns}
    FROM transactions
    WHERE owner = %(owner)s
      AND (slot, id) < (coalesce(
          %(before_slot)s::BIGINT,
          (SELECT slot FROM transactions WHERE id = %(before_id)s),
          (SELECT slot FROM transactions WHERE owner = %(owner)s AND id < %(before_id)s
           ORDER BY id DESC LIMIT 1)
      ), %(before_id)s)
    ORDER BY slot DESC, id DESC
    LIMIT %(limit)s
    OFFSET %(offset)s
    """,
)

# A query of its own, so that its plan uses the index by kind.
PAGE_OF_KIND = PAGE.replace("WHERE owner", "WHERE kind = %(kind)s AND owner", 1)

IN_ORDER = query_for(
    HistoryRow,
    """
    SELECT {columns}
    FROM transactions
    WHERE owner = %(owner)s
    ORDER BY slot, id
    """,
)

REMOVE = """
DELETE FROM transactions
WHERE id = ANY(%(ids)s)
"""

OF_SLOT = query_for(
    HistoryRow,
    """
    SELECT {columns}
    FROM transactions
    WHERE owner = %(owner)s
      AND slot = %(slot)s
    ORDER BY id
    """,
)


async def add(conn: Connection, rows: Sequence[HistoryRow]) -> None:
    """Add the rows in the order given; rows that are already there stay as they are.

    Their slots determine their place; within a slot they follow the rows that are there.
    """
    if rows:
        await conn.execute(ADD, by_column(rows, columns(HistoryRow, without={"id"})))


async def page(
    conn: Connection,
    owner: str,
    *,
    limit: int,
    offset: int = 0,
    before_id: int | None = None,
    kind: str | None = None,
) -> list[HistoryRow]:
    """Return up to `limit` rows of `owner`, newest first, older than `before_id`."""
    params = {
        "owner": owner,
        "kind": kind,
        "before_slot": MAX_ID if before_id is None else None,
        "before_id": MAX_ID if before_id is None else before_id,
        "limit": limit,
        "offset": offset,
    }
    return await fetch_all(conn, HistoryRow, PAGE if kind is None else PAGE_OF_KIND, params)


async def in_order(conn: Connection, owner: str) -> list[HistoryRow]:
    """Return every row of `owner`, oldest first."""
    return await fetch_all(conn, HistoryRow, IN_ORDER, {"owner": owner})


async def remove(conn: Connection, rows: Sequence[HistoryRow]) -> None:
    """Delete these rows by id: the chain does not have them, or has them elsewhere."""
    await conn.execute(REMOVE, {"ids": [row.id for row in rows]})


async def of_slot(conn: Connection, owner: str, slot: int) -> list[HistoryRow]:
    """Return the rows of `owner` in one slot, oldest first."""
    return await fetch_all(conn, HistoryRow, OF_SLOT, {"owner": owner, "slot": slot})
