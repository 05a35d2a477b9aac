"""Rows of the table `vaults`: a row is the decoded account at a slot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import Vault
from cvms.chain.program.addresses import token_account
from cvms.chain.types import Slot
from cvms.store.reconciliation.vault_ledger import HELD
from cvms.store.vaults.vaults import VaultRow

CLOSED: dict[str, Any] = {"closed": True}
"""The `state` of a row whose account is closed."""
AMOUNTS = (*HELD, "total_deposited", "total_withdrawn")
_EMPTY: dict[str, Any] = {
    **dict.fromkeys(AMOUNTS, 0),
    "multisig_threshold": 0,
    "delegates": (),
    "state": CLOSED,
}
BIGINT_MAX = 2**63 - 1
"""The maximum of a column. The account's totals can exceed it: each deposit of the same tokens
counts, and so do worthless tokens."""


def vault_row(address: Pubkey, vault: Vault, slot: Slot) -> VaultRow:
    """Return the row of a vault whose account was `vault` in `slot`."""
    return VaultRow(
        owner=str(vault.owner),
        vault=str(address),
        token_account=str(vault.token_account),
        mint=str(vault.usdt_mint),
        total=vault.total_balance,
        available=vault.available_balance,
        locked=vault.locked_balance,
        timelocked=vault.timelocked,
        yield_deposited=vault.yield_deposited_balance,
        total_deposited=min(vault.total_deposited, BIGINT_MAX),
        total_withdrawn=min(vault.total_withdrawn, BIGINT_MAX),
        multisig_threshold=vault.multisig_threshold,
        delegates=tuple(map(str, vault.delegates)),
        state=_state(vault),
        slot=slot,
    )


def _state(vault: Vault) -> dict[str, Any]:
    """Return every field as the database returns it: through JSON, so that tuples become lists.

    Without those that only the program has a use for.
    """
    state: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(vault, enc_hook=str))
    del state["_reserved"], state["yield_kept"]
    return state


def vault_row_at(
    address: Pubkey, vault: Vault | None, slot: Slot, *, mint: str, before: VaultRow | None
) -> VaultRow | None:
    """Return the row of a vault whose account was `vault` (None if there is none) in `slot`.

    None for a vault that never held `mint`. A vault that was closed and opened again with another
    mint keeps a row of that mint with zero balances.
    """
    if vault is not None and str(vault.usdt_mint) == mint:
        return vault_row(address, vault, slot)
    if before is None:
        return None
    return closed_row(before, slot, mint=str(vault.usdt_mint) if vault else before.mint)


def closed_vault_row(vault: str, owner: str, slot: Slot, *, mint: str) -> VaultRow:
    """Return the row of a vault that is closed and has no row yet."""
    return VaultRow(
        owner=owner,
        vault=vault,
        token_account=str(token_account(Pubkey.from_string(vault), Pubkey.from_string(mint))),
        mint=mint,
        slot=slot,
        **_EMPTY,
    )


def closed_row(before: VaultRow, slot: Slot, *, mint: str) -> VaultRow:
    """Return the row of a vault that was closed by `slot`. The program closes only empty vaults.

    The totals are zero too: the last known ones would depend on when the account was last read.
    """
    return replace(before, mint=mint, slot=slot, **_EMPTY)


def balances(row: VaultRow) -> dict[str, Any]:
    """Return the data of `vault_balance_update`, named as in GET /api/vault/balance."""
    return {
        "owner": row.owner,
        "vault": row.vault,
        "balance": row.total,
        "available": row.available,
        "locked": row.locked,
        "timelocked": row.timelocked,
        "yield_deposited": row.yield_deposited,
        "slot": row.slot,
    }


def same_account(one: VaultRow, other: VaultRow) -> bool:
    """Return whether two rows of a vault are equal but for their slots and times of update."""
    return replace(one, slot=other.slot, updated_at=other.updated_at) == other


def same_balances(one: VaultRow, other: VaultRow | None) -> bool:
    """Return whether two rows of a vault hold the same amounts, regardless of their slots."""
    return other is not None and balances(replace(one, slot=other.slot)) == balances(other)
