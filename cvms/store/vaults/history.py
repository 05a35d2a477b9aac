"""The history of each vault: what moved, in the order it happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from typing import Any, LiteralString

import msgspec

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    by_column,
    columns,
    fetch_structs,
    fetch_value,
    query_for,
)


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
    # What is available goes first, then what is locked: see `change_of`.
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


class Balances(msgspec.Struct, frozen=True):
    """The balances of a vault, or by how much they change. In the token's smallest unit."""

    total: int = 0
    available: int = 0
    locked: int = 0
    timelocked: int = 0
    yield_deposited: int = 0

    def plus(self, change: Balances) -> Balances:
        """Return the balances after the change."""
        return Balances(
            self.total + change.total,
            self.available + change.available,
            self.locked + change.locked,
            self.timelocked + change.timelocked,
            self.yield_deposited + change.yield_deposited,
        )

    def minus(self, before: Balances) -> Balances:
        """Return by how much these balances exceed those `before`."""
        return Balances(
            self.total - before.total,
            self.available - before.available,
            self.locked - before.locked,
            self.timelocked - before.timelocked,
            self.yield_deposited - before.yield_deposited,
        )


def change_of(kind: str, amount: int, *, available: int) -> Balances:
    """Return by how much a movement changes a vault that has this much available before it."""
    effect = EFFECTS[kind]
    from_locked = 0
    if kind == Kind.EMERGENCY_WITHDRAW:
        from_locked = max(amount - available, 0)
    return Balances(
        effect.total * amount,
        effect.available * amount + from_locked,
        effect.locked * amount - from_locked,
        effect.timelocked * amount,
        effect.yield_deposited * amount,
    )


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One movement in one vault. The database sets `id`; leave it out when adding.

    A Struct, since a page of fifty dataclasses takes longer to build than to query.
    """

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Up to `limit` rows of `owner`, newest first, older than `before_id`, of any or one kind."""

    owner: str
    limit: int
    before_id: int | None = None
    kind: str | None = None


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

_PAGES = """
SELECT line.*, number
FROM unnest(
    %(owner)s::TEXT[], %(kind)s::TEXT[], %(before_slot)s::BIGINT[], %(before_id)s::BIGINT[],
    %(limit)s::BIGINT[]
) WITH ORDINALITY AS asked (p_owner, p_kind, p_before_slot, p_before_id, p_limit, number)
CROSS JOIN LATERAL ({page}) AS line
ORDER BY number, line.slot DESC, line.id DESC
"""


def _pages(page: LiteralString) -> LiteralString:
    """Return the query of a page for a list of pages: its parameters become columns of the list."""
    page = page.replace("OFFSET %(offset)s", "").replace("%(", "asked.p_").replace(")s", "")
    return _PAGES.replace("{page}", page)


PAGES = _pages(PAGE)
PAGES_OF_KIND = _pages(PAGE_OF_KIND)

IN_ORDER = query_for(
    HistoryRow,
    """
    SELECT {columns}
    FROM transactions
    WHERE owner = %(owner)s
    ORDER BY slot, id
    """,
)

# Reads the newest withdrawals only, up to the last one before the time.
WITHDRAWN_SINCE = """
SELECT coalesce(sum(amount), 0)
FROM transactions
WHERE owner = %(owner)s
  AND kind = %(kind)s
  AND slot > coalesce((
      SELECT slot
      FROM transactions
      WHERE owner = %(owner)s
        AND kind = %(kind)s
        AND block_time <= %(time)s
      ORDER BY slot DESC, id DESC
      LIMIT 1
  ), -1)
"""

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


async def withdrawn_since(conn: Connection, owner: str, time: datetime) -> int:
    """Return the sum of what the owner has withdrawn after `time`."""
    params = {"owner": owner, "kind": Kind.WITHDRAW, "time": time}
    return int(await fetch_value(conn, WITHDRAWN_SINCE, params))


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
    request = PageRequest(owner=owner, limit=limit, before_id=before_id, kind=kind)
    query = PAGE if kind is None else PAGE_OF_KIND
    return await fetch_structs(conn, HistoryRow, query, _params(request) | {"offset": offset})


async def pages(conn: Connection, requests: Sequence[PageRequest]) -> list[list[HistoryRow]]:
    """Return the page of each request, with one query for all pages of any kind of movement."""
    found: dict[PageRequest, list[HistoryRow]] = {request: [] for request in requests}
    of_kind = [request for request in found if request.kind is not None]
    of_all = [request for request in found if request.kind is None]
    for one, many, asked in ((PAGE, PAGES, of_all), (PAGE_OF_KIND, PAGES_OF_KIND, of_kind)):
        if len(asked) == 1:  # the server keeps its plan
            params = _params(asked[0]) | {"offset": 0}
            found[asked[0]] = await fetch_structs(conn, HistoryRow, one, params)
        elif asked:
            lists = [_params(request) for request in asked]
            arrays = {name: [each[name] for each in lists] for name in lists[0]}
            cursor = await conn.execute(many, arrays)
            for number, rows in groupby(await cursor.fetchall(), key=itemgetter(-1)):
                found[asked[number - 1]] = msgspec.convert(list(rows), list[HistoryRow])
    return [found[request] for request in requests]


def _params(request: PageRequest) -> dict[str, Any]:
    newest = request.before_id is None
    return {
        "owner": request.owner,
        "kind": request.kind,
        "before_slot": MAX_ID if newest else None,
        "before_id": MAX_ID if newest else request.before_id,
        "limit": request.limit,
    }


async def in_order(conn: Connection, owner: str) -> list[HistoryRow]:
    """Return every row of `owner`, oldest first."""
    return await fetch_structs(conn, HistoryRow, IN_ORDER, {"owner": owner})


async def remove(conn: Connection, rows: Sequence[HistoryRow]) -> None:
    """Delete these rows by id: the chain does not have them, or has them elsewhere."""
    await conn.execute(REMOVE, {"ids": [row.id for row in rows]})


async def of_slot(conn: Connection, owner: str, slot: int) -> list[HistoryRow]:
    """Return the rows of `owner` in one slot, oldest first."""
    return await fetch_structs(conn, HistoryRow, OF_SLOT, {"owner": owner, "slot": slot})
