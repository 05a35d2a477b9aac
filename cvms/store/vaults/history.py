"""What moved in each vault, in the order it happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all

# The kinds of history rows that other modules name.
DEPOSIT = "deposit"
WITHDRAW = "withdraw"
EMERGENCY_WITHDRAW = "emergency_withdraw"

ADD = """
INSERT INTO transactions (
    owner, vault, kind, amount, balance_after, slot, block_time, signature, instruction_index,
    ordinal, commitment
)
SELECT owner, vault, kind, amount, balance_after, slot, block_time, signature, instruction_index,
       ordinal, commitment
FROM unnest(
    %(owner)s::TEXT[], %(vault)s::TEXT[], %(kind)s::TEXT[], %(amount)s::BIGINT[],
    %(balance_after)s::BIGINT[], %(slot)s::BIGINT[], %(block_time)s::TIMESTAMPTZ[],
    %(signature)s::TEXT[], %(instruction_index)s::INTEGER[], %(ordinal)s::INTEGER[],
    %(commitment)s::TEXT[]
) WITH ORDINALITY AS entry (
    owner, vault, kind, amount, balance_after, slot, block_time, signature, instruction_index,
    ordinal, commitment, place
)
ORDER BY place
ON CONFLICT (signature, instruction_index, ordinal, owner, kind) DO NOTHING
"""

# The line with the id `before_id` says where to go on; one that was taken out since, the line that
# was recorded before it.
PAGE = """
SELECT id, owner, vault, kind, amount, balance_after, slot, block_time, signature,
       instruction_index, ordinal, commitment
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
"""

PAGE_OF_KIND = """
SELECT id, owner, vault, kind, amount, balance_after, slot, block_time, signature,
       instruction_index, ordinal, commitment
FROM transactions
WHERE owner = %(owner)s
  AND kind = %(kind)s
  AND (slot, id) < (coalesce(
      %(before_slot)s::BIGINT,
      (SELECT slot FROM transactions WHERE id = %(before_id)s),
      (SELECT slot FROM transactions WHERE owner = %(owner)s AND id < %(before_id)s
       ORDER BY id DESC LIMIT 1)
  ), %(before_id)s)
ORDER BY slot DESC, id DESC
LIMIT %(limit)s
OFFSET %(offset)s
"""

IN_ORDER = """
SELECT id, owner, vault, kind, amount, balance_after, slot, block_time, signature,
       instruction_index, ordinal, commitment
FROM transactions
WHERE owner = %(owner)s
ORDER BY slot, id
"""

REMOVE = """
DELETE FROM transactions
WHERE id = ANY(%(ids)s)
"""

OF_SLOT = """
SELECT id, owner, vault, kind, amount, balance_after, slot, block_time, signature,
       instruction_index, ordinal, commitment
FROM transactions
WHERE owner = %(owner)s
  AND slot = %(slot)s
ORDER BY id
"""

_NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How often a row's amount is added to each of the vault's balances."""

    total: int = 0
    available: int = 0
    locked: int = 0
    timelocked: int = 0
    yield_deposited: int = 0


# By the kind of row; schema.sql refuses others.
EFFECTS: Mapping[str, Effect] = {
    DEPOSIT: Effect(total=1, available=1),
    WITHDRAW: Effect(total=-1, available=-1),
    # What is available goes first, then what is locked: see nursery/ledger/running_balances.py.
    EMERGENCY_WITHDRAW: Effect(total=-1, available=-1),
    "lock": Effect(available=-1, locked=1),
    "unlock": Effect(available=1, locked=-1),
    "transfer_in": Effect(total=1, available=1),
    "transfer_out": Effect(total=-1, available=-1),
    "timelock": Effect(available=-1, timelocked=1),
    "timelock_release": Effect(available=1, timelocked=-1),
    "yield_deposit": Effect(available=-1, yield_deposited=1),
    "yield_withdraw": Effect(available=1, yield_deposited=-1),
    "yield_compound": Effect(total=1, yield_deposited=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One movement in one vault. `id` is the database's; leave it out when adding."""

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
        """That of its event."""
        return self.signature, self.instruction_index, self.ordinal


async def add(conn: Connection, rows: Sequence[HistoryRow]) -> None:
    """Add the rows, in the order given; those already there are left as they are.

    Their slots say where they belong; within a slot they follow those that are there.
    """
    if rows:
        names = (name for name in HistoryRow.__slots__ if name != "id")
        await conn.execute(ADD, by_column(rows, names))


async def page(
    conn: Connection,
    owner: str,
    *,
    limit: int,
    offset: int = 0,
    before_id: int | None = None,
    kind: str | None = None,
) -> list[HistoryRow]:
    """Up to `limit` rows of `owner`, newest first, older than `before_id`."""
    params = {
        "owner": owner,
        "kind": kind,
        "before_slot": _NEWEST if before_id is None else None,
        "before_id": _NEWEST if before_id is None else before_id,
        "limit": limit,
        "offset": offset,
    }
    return await fetch_all(conn, HistoryRow, PAGE if kind is None else PAGE_OF_KIND, params)


async def in_order(conn: Connection, owner: str) -> list[HistoryRow]:
    """Every row of `owner`, oldest first."""
    return await fetch_all(conn, HistoryRow, IN_ORDER, {"owner": owner})


async def remove(conn: Connection, rows: Sequence[HistoryRow]) -> None:
    """Take these rows out, by their ids: the chain does not have them, or not here."""
    await conn.execute(REMOVE, {"ids": [row.id for row in rows]})


async def of_slot(conn: Connection, owner: str, slot: int) -> list[HistoryRow]:
    """The rows of `owner` in one slot, oldest first."""
    return await fetch_all(conn, HistoryRow, OF_SLOT, {"owner": owner, "slot": slot})
