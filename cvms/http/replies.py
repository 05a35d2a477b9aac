"""What rows look like to clients: the one rendering that HTTP replies and snapshots share."""

from __future__ import annotations

from typing import Any

from cvms.store.history import HistoryRow
from cvms.store.vaults import Tvl, VaultRow


def balance(row: VaultRow) -> dict[str, Any]:
    """A vault's balances at the slot they hold for."""
    return {
        "owner": row.owner,
        "vault": row.vault,
        "balance": row.total,
        "available": row.available,
        "locked": row.locked,
        "timelocked": row.timelocked,
        "yield_deposited": row.yield_deposited,
        "slot": row.slot,
        "as_of": row.updated_at,
    }


def movement(row: HistoryRow) -> dict[str, Any]:
    """One line of a vault's history."""
    return {
        "id": row.id,
        "kind": row.kind,
        "amount": row.amount,
        "balance_after": row.balance_after,
        "slot": row.slot,
        "block_time": row.block_time,
        "signature": row.signature,
        "commitment": row.commitment,
    }


def tvl(row: Tvl) -> dict[str, Any]:
    """All vaults together; `slot` is the newest among them, null before the first."""
    return {"total": row.total, "vaults": row.vaults, "slot": row.slot}
