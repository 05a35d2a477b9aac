"""Routes that find vaults, and that show one beside its account on the chain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from cvms.amounts import Amount
from cvms.errors import BalanceNotKnown, ChainUnavailable, RpcError, SlotNotIndexed, VaultNotFound
from cvms.http.admin.console.comparison import BooksComparison, compare_books
from cvms.http.framework import schemas
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import unknown_vault
from cvms.http.framework.request import Body, Limit, Slot, owner_in_path
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.vaults.balance_routes import balance_at
from cvms.http.vaults.state_schemas import VaultConfig, vault_state
from cvms.store.vaults import vault_search
from cvms.store.vaults.vaults import VaultRow

Prefix = Annotated[str, msgspec.Meta(pattern=r"^[1-9A-HJ-NP-Za-km-z]{0,44}\Z")]
OwnerCursor = Annotated[str, msgspec.Meta(pattern=r"^[1-9A-HJ-NP-Za-km-z]{32,44}\Z")]
AccountState = Literal["open", "closed"]

ROUTES = RouteGroup("administration", auth=Auth.ADMIN, role=Role.VIEWER)


class VaultSearch(Body, frozen=True):
    query: Prefix = ""
    state: AccountState | None = None
    cursor: OwnerCursor | None = None
    limit: Limit = 50


class BalanceAtSlot(Body, frozen=True):
    slot: Slot


class FoundVault(msgspec.Struct, frozen=True, kw_only=True):
    """A vault as of `slot`. One that is closed holds nothing."""

    owner: str
    state: AccountState
    balance: Amount
    available: Amount
    locked: Amount
    timelocked: Amount
    yield_deposited: Amount = msgspec.field(name="yield")
    slot: int
    updated_at: datetime


class FoundVaults(msgspec.Struct, frozen=True, kw_only=True):
    """A page of vaults, ordered by owner. `cursor` is null on the last page."""

    vaults: list[FoundVault]
    cursor: str | None


class VaultBesideChain(FoundVault, frozen=True, kw_only=True):
    """A vault of the books, what guards it, and how it compares with its account on the chain.

    `guards` is null if the vault is closed.
    """

    vault: str
    token_account: str
    mint: str
    total_deposited: Amount
    total_withdrawn: Amount
    guards: VaultConfig | None
    comparison: BooksComparison


@ROUTES.get("/api/admin/vaults", replies={200: FoundVaults})
async def search_vaults(
    deps: Dependencies, query: VaultSearch, administrator: Administrator
) -> Reply:
    """List the vaults whose owners begin with some characters.

    Returns a page, ordered by owner, of those whose owner begins with `query`, open and closed, or
    of one `state` if given. Pass its `cursor` to get the page after it.
    """
    async with deps.database.connection() as conn:
        rows = await vault_search.page(
            conn,
            prefix=query.query,
            closed=None if query.state is None else query.state == "closed",
            after=query.cursor or "",
            limit=query.limit + 1,
        )
    found = [_found(row) for row in rows[: query.limit]]
    cursor = found[-1].owner if len(rows) > query.limit else None
    return Reply(FoundVaults(vaults=found, cursor=cursor))


@ROUTES.get(
    "/api/admin/vaults/<owner>",
    replies={200: VaultBesideChain},
    refusals=(VaultNotFound, ChainUnavailable, RpcError),
)
async def get_vault_beside_chain(
    deps: Dependencies, owner: str, administrator: Administrator
) -> Reply:
    """Get a vault beside its account on the chain.

    Returns the row of the books, and the fields of it and of the account on the chain, which is
    read now: 503 if no RPC endpoint answers. The reconciler makes the same comparison, and the
    history's, of all vaults in turn.
    """
    key = owner_in_path(owner)
    row, comparison = await compare_books(deps, key)
    if row is None:
        raise unknown_vault(str(key))
    return Reply(_beside_chain(row, comparison))


@ROUTES.get(
    "/api/admin/vaults/<owner>/balance",
    replies={200: schemas.Balance},
    refusals=(VaultNotFound, BalanceNotKnown, SlotNotIndexed),
)
async def get_balance_at_slot(
    deps: Dependencies, owner: str, query: BalanceAtSlot, administrator: Administrator
) -> Reply:
    """Get what a vault held at the end of a slot.

    404 `balance_not_known` before its first known balance, 422 `slot_not_indexed` after the newest
    indexed slot. A closed vault keeps its past balances.
    """
    key, program = str(owner_in_path(owner)), str(deps.programs.vault)
    async with deps.database.connection() as conn:
        return Reply(await balance_at(conn, key, query.slot, program=program))


def _found(row: VaultRow) -> FoundVault:
    return FoundVault(**_fields(row))


def _fields(row: VaultRow) -> dict[str, Any]:
    return {
        "owner": row.owner,
        "state": "closed" if row.closed else "open",
        "balance": row.total,
        "available": row.available,
        "locked": row.locked,
        "timelocked": row.timelocked,
        "yield_deposited": row.yield_deposited,
        "slot": row.slot,
        "updated_at": row.updated_at,
    }


def _beside_chain(row: VaultRow, comparison: BooksComparison) -> VaultBesideChain:
    guards = None
    if not row.closed:  # which are the same at any time
        guards = schemas.reply_of(vault_state(row, datetime.now(UTC)), VaultConfig)
    return VaultBesideChain(
        **_fields(row),
        vault=row.vault,
        token_account=row.token_account,
        mint=row.mint,
        total_deposited=row.total_deposited,
        total_withdrawn=row.total_withdrawn,
        guards=guards,
        comparison=comparison,
    )
