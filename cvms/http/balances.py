"""What the indexer has written: balances, history and the total. Never asks the chain."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from quart import Blueprint, Response

from cvms.errors import FieldProblem, InvalidRequest, VaultNotFound
from cvms.http import replies
from cvms.http.body import (
    Body,
    Limit,
    Offset,
    RowId,
    json_response,
    owner_in_path,
    read_query,
)
from cvms.http.services import Services
from cvms.store import history, vaults

Kind = Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,32}\Z")]


class HistoryQuery(Body, frozen=True):
    limit: Limit = 50
    offset: Offset = 0
    cursor: RowId | None = None
    kind: Kind | None = None


def routes(services: Services) -> Blueprint:
    blueprint = Blueprint("balances", __name__, url_prefix="/api/vault")
    for rule, view in (
        ("/balance/<owner>", balance),
        ("/transactions/<owner>", transactions),
        ("/tvl", tvl),
    ):
        blueprint.add_url_rule(rule, view.__name__, partial(view, services))
    return blueprint


async def balance(services: Services, owner: str) -> Response:
    """One vault's balances, from the cache if there is one."""
    key = str(owner_in_path(owner))
    with services.metrics.balance_query_seconds.time():
        row = await services.cache.get(key)
        cached = row is not None
        if row is None:
            row = await _stored(services, key)
            await services.cache.put(row)
    return json_response(replies.balance(row) | {"cached": cached})


async def transactions(services: Services, owner: str) -> Response:
    """A page of a vault's history, newest first; `next_cursor` asks for the one after it."""
    key = str(owner_in_path(owner))
    query = read_query(HistoryQuery)
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
    return json_response(
        {
            "owner": key,
            "transactions": [replies.movement(row) for row in rows],
            "next_cursor": rows[-1].id if full else None,
        }
    )


async def tvl(services: Services) -> Response:
    """What all vaults hold together."""
    async with services.database.connection() as conn:
        return json_response(replies.tvl(await vaults.tvl(conn)))


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
