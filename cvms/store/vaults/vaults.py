"""The rows of vaults: each the decoded account at a slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    columns,
    fetch_all,
    fetch_column,
    fetch_one,
    json_array,
    query_for,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultRow:
    """A vault as of `slot`. Amounts in the token's smallest unit, keys in base58.

    `state` is the whole decoded account. The database sets `updated_at`.
    """

    owner: str
    vault: str
    token_account: str
    mint: str
    total: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int
    total_deposited: int
    total_withdrawn: int
    multisig_threshold: int
    delegates: tuple[str, ...]
    state: dict[str, Any]
    slot: int
    updated_at: datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "delegates", tuple(self.delegates))

    @property
    def closed(self) -> bool:
        """True if the account is closed (see nursery/ledger/vault_rows.py)."""
        return self.state.get("closed") is True


@dataclass(frozen=True, slots=True)
class Tvl:
    """The total of all vaults, the number of open ones, and the newest slot of any."""

    total: int
    vaults: int
    slot: int | None


STORED = columns(VaultRow, without={"updated_at"})

UPSERT = query_for(
    VaultRow,
    """
    INSERT INTO vaults ({columns})
    SELECT {columns}
    FROM jsonb_to_recordset(%(rows)s) AS given ({definitions})
    ORDER BY owner
    ON CONFLICT (owner) DO UPDATE SET {updates}, updated_at = now()
    WHERE vaults.slot <= EXCLUDED.slot
    RETURNING owner
    """,
    key={"owner"},
    without={"updated_at"},
)

GET = query_for(
    VaultRow,
    """
    SELECT {columns}
    FROM vaults
    WHERE owner = %(owner)s
    """,
)

GET_MANY = GET.replace("= %(owner)s", "= ANY(%(owners)s)")

GET_BY_VAULTS = query_for(
    VaultRow,
    """
    SELECT {columns}
    FROM vaults
    WHERE vault = ANY(%(vaults)s)
    """,
)

PAGE = query_for(
    VaultRow,
    """
    SELECT {columns}
    FROM vaults
    WHERE owner > %(after_owner)s
    ORDER BY owner
    LIMIT %(limit)s
    """,
)

OWNERS = """
SELECT owner
FROM vaults
WHERE owner > %(after_owner)s
ORDER BY owner
LIMIT %(limit)s
"""

OWNERS_WITH_OTHER_TOTAL = """
SELECT listed.owner
FROM unnest(%(owner)s::TEXT[], %(total)s::NUMERIC[]) AS listed (owner, total)
LEFT JOIN vaults
  ON vaults.owner = listed.owner
WHERE vaults.total IS DISTINCT FROM listed.total
"""

# From the sums that store/analytics/aggregates.py keeps; an index finds the newest slot.
TVL = """
SELECT coalesce(sum(total), 0) AS total,
       coalesce(sum(vaults), 0)::BIGINT AS vaults,
       (SELECT max(slot) FROM vaults) AS slot
FROM vault_sizes
"""


async def upsert_all(conn: Connection, rows: Sequence[VaultRow]) -> set[str]:
    """Store the rows, one for each owner, unless the stored row has a newer slot.

    Returns the owners whose rows were stored. Only store/projection/vault_writer.py calls this:
    it keeps the sums over all vaults in step.
    """
    values = [{name: getattr(row, name) for name in STORED} for row in rows]
    return set(await fetch_column(conn, UPSERT, {"rows": json_array(values)}))


async def get(conn: Connection, owner: str) -> VaultRow | None:
    """Return the vault of `owner`."""
    return await fetch_one(conn, VaultRow, GET, {"owner": owner})


async def get_many(conn: Connection, owners: Sequence[str]) -> list[VaultRow | None]:
    """Return what `get` returns for each owner, in the order given."""
    if len(owners) == 1:
        return [await get(conn, owners[0])]  # whose plan the server keeps
    rows = await fetch_all(conn, VaultRow, GET_MANY, {"owners": list(owners)})
    found = {row.owner: row for row in rows}
    return [found.get(owner) for owner in owners]


async def get_by_vaults(conn: Connection, vaults: Sequence[str]) -> list[VaultRow]:
    """Return the rows of the vaults at these addresses, as far as they have one."""
    return await fetch_all(conn, VaultRow, GET_BY_VAULTS, {"vaults": list(vaults)})


async def page(
    conn: Connection, after_owner: str | None = None, limit: int = 100
) -> list[VaultRow]:
    """Return up to `limit` vaults, ordered by owner, after `after_owner`."""
    return await fetch_all(conn, VaultRow, PAGE, {"after_owner": after_owner or "", "limit": limit})


async def owners_after(conn: Connection, after_owner: str, limit: int) -> list[str]:
    """Return up to `limit` owners of vaults, in order, after `after_owner`."""
    return await fetch_column(conn, OWNERS, {"after_owner": after_owner, "limit": limit})


async def owners_with_other_total(conn: Connection, totals: Mapping[str, int]) -> list[str]:
    """Return the owners in `totals` whose vault has no row or a different total."""
    params = {"owner": list(totals), "total": list(totals.values())}
    return await fetch_column(conn, OWNERS_WITH_OTHER_TOTAL, params)


async def tvl(conn: Connection) -> Tvl:
    """Return the total of all vaults, from the sums that `vault_writer` keeps."""
    cursor = await conn.execute(TVL)
    row = await cursor.fetchone()
    assert row is not None
    total, vaults, slot = row
    return Tvl(total=int(Decimal(total)), vaults=vaults, slot=slot)
