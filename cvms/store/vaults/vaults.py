"""The vaults' rows: each the decoded account at a slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import scalar_row

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_one, json_array

UPSERT = """
INSERT INTO vaults (
    owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
    total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot
)
SELECT owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
       total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot
FROM jsonb_to_recordset(%(rows)s) AS read (
    owner TEXT, vault TEXT, token_account TEXT, mint TEXT, total BIGINT, available BIGINT,
    locked BIGINT, timelocked BIGINT, yield_deposited BIGINT, total_deposited BIGINT,
    total_withdrawn BIGINT, multisig_threshold SMALLINT, delegates TEXT[], state JSONB, slot BIGINT
)
ORDER BY owner
ON CONFLICT (owner) DO UPDATE SET
    vault = EXCLUDED.vault,
    token_account = EXCLUDED.token_account,
    mint = EXCLUDED.mint,
    total = EXCLUDED.total,
    available = EXCLUDED.available,
    locked = EXCLUDED.locked,
    timelocked = EXCLUDED.timelocked,
    yield_deposited = EXCLUDED.yield_deposited,
    total_deposited = EXCLUDED.total_deposited,
    total_withdrawn = EXCLUDED.total_withdrawn,
    multisig_threshold = EXCLUDED.multisig_threshold,
    delegates = EXCLUDED.delegates,
    state = EXCLUDED.state,
    slot = EXCLUDED.slot,
    updated_at = now()
WHERE vaults.slot <= EXCLUDED.slot
RETURNING owner
"""

GET = """
SELECT owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
       total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot, updated_at
FROM vaults
WHERE owner = %(owner)s
"""

GET_BY_VAULTS = """
SELECT owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
       total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot, updated_at
FROM vaults
WHERE vault = ANY(%(vaults)s)
"""

GET_BY_VAULT = """
SELECT owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
       total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot, updated_at
FROM vaults
WHERE vault = %(vault)s
"""

PAGE = """
SELECT owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
       total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot, updated_at
FROM vaults
WHERE owner > %(after_owner)s
ORDER BY owner
LIMIT %(limit)s
"""

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

# From sums that are kept (store/analytics/aggregates.py); the newest slot is found by its index.
TVL = """
SELECT coalesce(sum(total), 0) AS total,
       coalesce(sum(vaults), 0)::BIGINT AS vaults,
       (SELECT max(slot) FROM vaults) AS slot
FROM vault_sizes
"""


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
        """Whether the row is all that is left of the vault (see nursery/ledger/vault_rows.py)."""
        return self.state.get("closed") is True


_STORED = [name for name in VaultRow.__slots__ if name != "updated_at"]


@dataclass(frozen=True, slots=True)
class Tvl:
    """What all vaults hold together, the number of open ones, and the newest slot of all."""

    total: int
    vaults: int
    slot: int | None


async def upsert(conn: Connection, row: VaultRow) -> bool:
    """Store `row` unless the stored one is of a newer slot; False then."""
    return bool(await upsert_all(conn, [row]))


async def upsert_all(conn: Connection, rows: Sequence[VaultRow]) -> set[str]:
    """Store the rows, one for an owner, whose stored ones are not of a newer slot; their owners."""
    values = [{name: getattr(row, name) for name in _STORED} for row in rows]
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(UPSERT, {"rows": json_array(values)})
        return set(await cursor.fetchall())


async def get(conn: Connection, owner: str) -> VaultRow | None:
    """The vault of `owner`."""
    return await fetch_one(conn, VaultRow, GET, {"owner": owner})


async def get_by_vault(conn: Connection, vault: str) -> VaultRow | None:
    """The vault at the address `vault`."""
    return await fetch_one(conn, VaultRow, GET_BY_VAULT, {"vault": vault})


async def get_by_vaults(conn: Connection, vaults: Sequence[str]) -> list[VaultRow]:
    """Those of the vaults at these addresses that have a row."""
    return await fetch_all(conn, VaultRow, GET_BY_VAULTS, {"vaults": list(vaults)})


async def page(
    conn: Connection, after_owner: str | None = None, limit: int = 100
) -> list[VaultRow]:
    """Up to `limit` vaults in the order of their owners, after the last one of a page before."""
    return await fetch_all(conn, VaultRow, PAGE, {"after_owner": after_owner or "", "limit": limit})


async def owners_after(conn: Connection, after_owner: str, limit: int) -> list[str]:
    """Up to `limit` owners of vaults in their order, behind the one given."""
    cursor = await conn.execute(OWNERS, {"after_owner": after_owner, "limit": limit})
    return [owner for (owner,) in await cursor.fetchall()]


async def owners_with_other_total(conn: Connection, totals: Mapping[str, int]) -> list[str]:
    """Those of these owners whose vault has no row, or one with another total."""
    params = {"owner": list(totals), "total": list(totals.values())}
    cursor = await conn.execute(OWNERS_WITH_OTHER_TOTAL, params)
    return [owner for (owner,) in await cursor.fetchall()]


async def tvl(conn: Connection) -> Tvl:
    """What all vaults hold together, by the sums that `vault_books` keeps."""
    cursor = await conn.execute(TVL)
    row = await cursor.fetchone()
    assert row is not None
    total, vaults, slot = row
    return Tvl(total=int(Decimal(total)), vaults=vaults, slot=slot)
