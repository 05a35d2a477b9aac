"""Routes that read balances, history and the total, as indexed. They never ask the chain."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import structs

from cvms.errors import (
    BalanceNotKnown,
    FieldProblem,
    InvalidRequest,
    SlotNotIndexed,
    VaultNotFound,
)
from cvms.http.framework import schemas
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import unknown_vault
from cvms.http.framework.request import (
    Body,
    Limit,
    Offset,
    RowId,
    Slot,
    current_request,
    owner_in_path,
    read_min_slot,
)
from cvms.http.framework.response import (
    Reply,
    Response,
    json_with_weak_etag,
    with_strong_etag,
    with_weak_etag,
)
from cvms.http.framework.routing import RouteGroup
from cvms.http.vaults.indexed_reads import read_history_page, read_indexed, read_vault_row
from cvms.nursery.channels.reply_cache import CachedReply
from cvms.store.index import cursor as cursors
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import balance_history, history, vaults
from cvms.store.vaults.history import HistoryRow, PageRequest
from cvms.store.vaults.vaults import VaultRow

Kind = Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,32}\Z")]

ROUTES = RouteGroup("vaults", indexed=True)


class HistoryQuery(Body, frozen=True):
    limit: Limit = 50
    offset: Offset = 0
    cursor: RowId | None = None
    kind: Kind | None = None


class BalanceQuery(Body, frozen=True):
    slot: Slot | None = None


@ROUTES.get(
    "/api/vault/balance/<owner>",
    replies={200: schemas.Balance, 304: None},
    refusals=(VaultNotFound, BalanceNotKnown, SlotNotIndexed),
)
async def get_balance(deps: Dependencies, owner: str, query: BalanceQuery) -> Response:
    """Get a vault's balance.

    Without `slot`, returns the newest balance. If it is `cached`, it may be up to a second old, but
    never older than what a WebSocket of the same process has shown. With a header `X-Min-Slot`, it
    is answered from memory only if it is of that slot or a later one.

    With `slot`, returns what the vault held at the end of that slot; `as_of` is the block time of
    the last movement before, if known. Balances are known from the vault's first movement or first
    read up to the newest indexed slot: 404 `balance_not_known` before, 422 `slot_not_indexed`
    after. A vault that has been closed since keeps its past balances.
    """
    if query.slot is not None:
        return with_strong_etag(await _past(deps, str(owner_in_path(owner)), query.slot))
    with deps.metrics.balance_query_seconds.time():
        min_slot = read_min_slot()
        # Before the owner is parsed: what is there is valid.
        if (kept := deps.replies.get(owner)) is not None and kept.answers(min_slot):
            current_request().indexed_slot = kept.indexed_slot if min_slot is None else min_slot
            return json_with_weak_etag(kept.body, kept.etag)
        return await _newest(deps, str(owner_in_path(owner)))


@ROUTES.get("/api/vault/transactions/<owner>", replies={200: schemas.History})
async def list_transactions(deps: Dependencies, owner: str, query: HistoryQuery) -> Reply:
    """List a vault's transactions.

    Returns a page, newest first. Pass its `next_cursor` as `cursor` to get the page after it; a
    cursor excludes an `offset`. `kind` selects one kind of movement. The history of a wallet
    without a vault is empty.
    """
    key = str(owner_in_path(owner))
    if query.cursor is not None and query.offset:
        problem = FieldProblem("offset", "not together with cursor")
        raise InvalidRequest("Send either `offset` or `cursor`.", [problem])
    if query.offset:  # it may take long, and delays nobody else

        async def far_page(conn: Connection) -> list[HistoryRow]:
            return await history.page(
                conn, key, limit=query.limit, offset=query.offset, kind=query.kind
            )

        rows = await read_indexed(deps, far_page)
    else:
        page = PageRequest(owner=key, limit=query.limit, before_id=query.cursor, kind=query.kind)
        rows = await read_history_page(deps, page)
    transactions = [schemas.reply_of(row, schemas.Movement) for row in rows]
    next_cursor = rows[-1].id if len(rows) == query.limit else None
    return Reply(schemas.History(owner=key, transactions=transactions, next_cursor=next_cursor))


@ROUTES.get("/api/vault/tvl", replies={200: schemas.Tvl})
async def get_tvl(deps: Dependencies) -> Reply:
    """Get the total value locked."""
    return Reply(schemas.reply_of(await read_indexed(deps, vaults.tvl), schemas.Tvl))


async def open_vault(conn: Connection, owner: str) -> VaultRow:
    """Return the row of the owner's open vault. Raises VaultNotFound if there is none."""
    return require_open(await vaults.get(conn, owner), owner)


def require_open(row: VaultRow | None, owner: str) -> VaultRow:
    """Return the row of the owner's vault. Raises VaultNotFound if it is None or closed."""
    if row is None or row.closed:
        raise unknown_vault(owner)
    return row


def version_of(row: VaultRow) -> str:
    """Return a text that changes whenever the row does."""
    written = row.updated_at.timestamp() if row.updated_at else 0
    return f"{row.slot}-{written:.6f}"


async def _newest(deps: Dependencies, owner: str) -> Response:
    # A replica may be behind what this process has heard: its rows are not kept.
    kept = deps.config.reply_cache_bytes > 0
    ticket = deps.replies.begin()
    row = require_open(await read_vault_row(deps, owner, from_primary=kept), owner)
    version = version_of(row)
    balance = schemas.reply_of(row, schemas.Balance)
    if kept:
        cached = msgspec.json.encode(structs.replace(balance, cached=True))
        indexed = current_request().indexed_slot
        deps.replies.keep(owner, ticket, CachedReply(cached, version, row.slot, indexed))
    return with_weak_etag(structs.replace(balance, cached=False), version)


async def _past(deps: Dependencies, owner: str, slot: int) -> schemas.Balance:
    async def read(conn: Connection) -> schemas.Balance:
        return await balance_at(conn, owner, slot, program=str(deps.programs.vault))

    return await read_indexed(deps, read)


async def balance_at(conn: Connection, owner: str, slot: int, *, program: str) -> schemas.Balance:
    """Return what the owner's vault held at the end of the slot.

    Raises VaultNotFound, SlotNotIndexed and BalanceNotKnown.
    """
    first = await balance_history.first_slot(conn, owner)
    if first is None:
        raise unknown_vault(owner)
    indexed = (await cursors.frontier(conn, program)).slot
    if indexed is None or slot > indexed:
        row = await vaults.get(conn, owner)
        if row is not None and row.slot == slot:  # an account may be ahead of the events
            return schemas.reply_of(row, schemas.Balance)
        raise SlotNotIndexed(
            f"Slot {slot} is not indexed yet; the newest indexed slot is {indexed or 0}. "
            "Request that slot, try again later, or omit `slot` for the newest balance."
        )
    point = await balance_history.at(conn, owner, slot)
    if point is None:
        raise BalanceNotKnown(
            f"The balance of {owner} in slot {slot} is not known. The first known balance is that "
            f"of slot {first}."
        )
    return schemas.Balance(
        owner=owner,
        vault=point.vault,
        total=point.total,
        available=point.available,
        locked=point.locked,
        timelocked=point.timelocked,
        yield_deposited=point.yield_deposited,
        slot=slot,
        updated_at=point.block_time,
    )
