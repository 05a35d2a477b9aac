"""Comparison of a vault's row with its account on the chain, read now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import Vault, read_vault
from cvms.chain.program.addresses import vault_address
from cvms.chain.types import Commitment, Slot
from cvms.errors import DecodeError
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import MAX_AMOUNT
from cvms.store.index import cursor as cursors
from cvms.store.vaults import vaults
from cvms.store.vaults.vaults import VaultRow

READINGS = 2
"""Of a vault that differs: it may have moved between the reading of the chain and of its row."""


class ComparedField(msgspec.Struct, frozen=True, kw_only=True):
    """A field of the row and of the account: an amount, a number, a text or a list of addresses.

    Null where the account, or the row, has no such field.
    """

    field: str
    equal: bool
    database: Any
    chain: Any


class BooksComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison with the account as of `slot`, at `confirmed`.

    A difference is `conclusive` if everything up to that slot is indexed and the row is not of a
    later one; else the row may only be a moment behind or ahead.
    """

    slot: int
    equal: bool
    conclusive: bool
    fields: list[ComparedField]


async def compare_books(
    deps: Dependencies, owner: Pubkey
) -> tuple[VaultRow | None, BooksComparison]:
    """Return the owner's row, and how it compares with the chain.

    Raises ChainUnavailable, RpcError and DatabaseUnavailable.
    """
    for _ in range(READINGS):
        slot, account = await _read_account(deps, owner)
        async with deps.database.connection() as conn:
            row = await vaults.get(conn, str(owner))
            indexed = (await cursors.frontier(conn, str(deps.programs.vault))).slot
        fields = _compare(_of_row(row), _of_account(account, str(deps.programs.mint)))
        equal = all(each.equal for each in fields)
        if equal:
            break
    is_older = row is None or row.slot <= slot
    conclusive = equal or (is_older and indexed is not None and indexed >= slot)
    found = BooksComparison(slot=slot, equal=equal, conclusive=conclusive, fields=fields)
    return row, found


async def _read_account(deps: Dependencies, owner: Pubkey) -> tuple[Slot, Vault | str | None]:
    """Return the slot of the reading, and the vault; a text if the account is something else."""
    address = vault_address(deps.programs, owner)
    found = await deps.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    try:
        return found.slot, read_vault(found.accounts[0], deps.programs)
    except DecodeError as error:
        return found.slot, f"not a vault: {error}"


def _of_row(row: VaultRow | None) -> Mapping[str, Any]:
    if row is None or row.closed:
        return {"state": "missing" if row is None else "closed"}
    return {
        "state": "open",
        "mint": row.mint,
        "token_account": row.token_account,
        "balance": row.total,
        "available": row.available,
        "locked": row.locked,
        "timelocked": row.timelocked,
        "yield": row.yield_deposited,
        "total_deposited": row.total_deposited,
        "total_withdrawn": row.total_withdrawn,
        "multisig_threshold": row.multisig_threshold,
        "multisig_signers": row.state.get("multisig_signers"),
        "delegates": list(row.delegates),
        "withdraw_whitelist": row.state.get("withdraw_whitelist"),
    }


def _of_account(vault: Vault | str | None, mint: str) -> Mapping[str, Any]:
    """Return the fields of an open vault; one of another mint is as one that is closed.

    A column holds no more than MAX_AMOUNT, which the account's totals may exceed.
    """
    if isinstance(vault, str):
        return {"state": vault}
    if vault is None or str(vault.usdt_mint) != mint:
        return {"state": "closed"}
    return {
        "state": "open",
        "mint": str(vault.usdt_mint),
        "token_account": str(vault.token_account),
        "balance": vault.total_balance,
        "available": vault.available_balance,
        "locked": vault.locked_balance,
        "timelocked": vault.timelocked,
        "yield": vault.yield_deposited_balance,
        "total_deposited": min(vault.total_deposited, MAX_AMOUNT),
        "total_withdrawn": min(vault.total_withdrawn, MAX_AMOUNT),
        "multisig_threshold": vault.multisig_threshold,
        "multisig_signers": [str(each) for each in vault.multisig_signers],
        "delegates": [str(each) for each in vault.delegates],
        "withdraw_whitelist": [str(each) for each in vault.withdraw_whitelist],
    }


def _compare(database: Mapping[str, Any], chain: Mapping[str, Any]) -> list[ComparedField]:
    return [
        ComparedField(
            field=name,
            equal=database.get(name) == chain.get(name),
            database=database.get(name),
            chain=chain.get(name),
        )
        for name in {**database, **chain}
    ]
