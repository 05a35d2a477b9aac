"""Open vaults, page by page, in a chosen order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, LiteralString

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, query_for
from cvms.store.vaults.vaults import VaultRow

Sort = Literal["balance_desc", "balance_asc", "slot", "owner"]


@dataclass(frozen=True, slots=True)
class Place:
    """The last vault of a page: its owner, and its balance or slot if that is the order."""

    key: int
    owner: str


OPEN = query_for(
    VaultRow,
    """
    SELECT {columns}
    FROM vaults
    WHERE NOT closed
      AND total >= %(min_balance)s
    """,
)

# For each order: the condition for the next page, and the order itself. Each has an index.
ORDERS: dict[Sort, tuple[LiteralString, LiteralString]] = {
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
    """Return up to `limit` open vaults with a total of at least `min_balance`, after `after`.

    `slot` sorts the most recently changed vaults first. A vault that moves past `after` between
    two pages appears twice or not at all; every other one appears once.
    """
    next_page, order = ORDERS[sort]
    params: dict[str, Any] = {"min_balance": min_balance, "limit": limit}
    query = OPEN
    if after is not None:
        query += next_page
        params |= {"key": after.key, "owner": after.owner}
    return await fetch_all(conn, VaultRow, query + "\n" + order + "\nLIMIT %(limit)s", params)


def place_of(row: VaultRow, sort: Sort) -> Place:
    """Return the place of a page whose last vault is `row`."""
    keys: dict[Sort, int] = {"balance_desc": row.total, "balance_asc": row.total, "slot": row.slot}
    return Place(keys.get(sort, 0), row.owner)
