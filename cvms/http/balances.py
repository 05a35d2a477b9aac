"""What the indexer has written: balances, history and the total. Never asks the chain."""

from __future__ import annotations

from typing import Annotated

import msgspec

from cvms.errors import FieldProblem, InvalidRequest, VaultNotFound
from cvms.http import replies
from cvms.http.answers import Answer
from cvms.http.body import Body, Limit, Offset, RowId, owner_in_path
from cvms.http.routing import Route
from cvms.http.services import Services
from cvms.store import history, vaults

Kind = Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,32}\Z")]


class HistoryQuery(Body, frozen=True):
    limit: Limit = 50
    offset: Offset = 0
    cursor: RowId | None = None
    kind: Kind | None = None


async def balance(services: Services, owner: str) -> Answer:
    """One vault's balances, from the cache if there is one."""
    key = str(owner_in_path(owner))
    with services.metrics.balance_query_seconds.time():
        row = await services.cache.get(key)
        cached = row is not None
        if row is None:
            row = await _stored(services, key)
            await services.cache.put(row)
    return Answer(replies.balance(row, cached=cached))


async def transactions(services: Services, owner: str, query: HistoryQuery) -> Answer:
    """A page of a vault's history, newest first; `next_cursor` asks for the one after it."""
    key = str(owner_in_path(owner))
    if query.cursor is not None and query.offset:
        problem = FieldProblem("offset", "not together with cursor")
        raise InvalidRequest("Page by offset or by cursor.", [problem])
    async with services.database.connection() as conn:
        rows = await history.page(
            conn,
            key,
            limit=query.limit,
            offset=query.offset,
            before_id=query.cursor,
            kind=query.kind,
        )
        if not rows and await vaults.get(conn, key) is None:
            raise unknown_vault(key)
    full = len(rows) == query.limit
    return Answer(
        replies.History(
            owner=key,
            transactions=[replies.movement(row) for row in rows],
            next_cursor=rows[-1].id if full else None,
        )
    )


async def tvl(services: Services) -> Answer:
    """What all vaults hold together."""
    async with services.database.connection() as conn:
        return Answer(replies.tvl(await vaults.tvl(conn)))


def unknown_vault(owner: str) -> VaultNotFound:
    return VaultNotFound(
        f"{owner} has no vault. Create one with POST /api/vault/initialize, "
        "sign the transaction, and submit it with POST /api/transactions."
    )


async def _stored(services: Services, owner: str) -> vaults.VaultRow:
    async with services.database.connection() as conn:
        row = await vaults.get(conn, owner)
    if row is None:
        raise unknown_vault(owner)
    return row


ROUTES = (
    Route(
        method="GET",
        rule="/api/vault/balance/<owner>",
        view=balance,
        replies={200: replies.Balance},
        refusals=(VaultNotFound,),
        tags=("vaults",),
    ),
    Route(
        method="GET",
        rule="/api/vault/transactions/<owner>",
        view=transactions,
        query=HistoryQuery,
        replies={200: replies.History},
        refusals=(VaultNotFound,),
        tags=("vaults",),
    ),
    Route(
        method="GET",
        rule="/api/vault/tvl",
        view=tvl,
        replies={200: replies.Tvl},
        tags=("vaults",),
    ),
)
