"""Open vaults, page by page, in an order of the caller's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, LiteralString

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all
from cvms.store.vaults.vaults import VaultRow

Sort = Literal["balance_desc", "balance_asc", "slot", "owner"]


@dataclass(frozen=True, slots=True)
class Place:
    """The last vault of a page: its owner, and its balance or slot where it is sorted by that."""

    key: int
    owner: str


_OPEN: LiteralString = """
SELECT owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
       total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot, updated_at
FROM vaults
WHERE NOT closed
  AND total >= %(min_balance)s
"""

# For each order: what comes after a place, and the order. The indexes of migration 6 hold both.
_ORDERS: dict[Sort, tuple[LiteralString, LiteralString]] = {
    "balance_desc": (
        "AND (total, owner) < (%(key)s, %(owner)s)",
        "ORDER BY total DESC, owner DESC",
    ),
    "balance_asc": (
        "AND (total, owner) > (%(key)s, %(owner)s)",
        "ORDER BY total, owner",
    ),
    "slot": (
        "AND (slot, owner) < (%(key)s, %(owner)s)",
        "ORDER BY slot DESC, owner DESC",
    ),
    "owner": (
        "AND owner > %(owner)s",
        "ORDER BY owner",
    ),
}


async def page(
    conn: Connection, *, sort: Sort, after: Place | None, min_balance: int, limit: int
) -> list[VaultRow]:
    """Up to `limit` open vaults that hold at least `min_balance`, after the place given.

    `slot` sorts the vaults that changed last first. A vault that moves past the place between two
    pages is seen twice or not at all; every other one is seen once.
    """
    behind, order = _ORDERS[sort]
    params: dict[str, Any] = {"min_balance": min_balance, "limit": limit}
    query = _OPEN
    if after is not None:
        query += behind
        params |= {"key": after.key, "owner": after.owner}
    return await fetch_all(conn, VaultRow, query + "\n" + order + "\nLIMIT %(limit)s", params)


def place_of(row: VaultRow, sort: Sort) -> Place:
    """Where a page ends whose last vault is `row`."""
    keys: dict[Sort, int] = {"balance_desc": row.total, "balance_asc": row.total, "slot": row.slot}
    return Place(keys.get(sort, 0), row.owner)
