"""Routes that list the vaults, and that read one vault's state, settings, timelocks and limits.

All data comes from the database. The current time is the database's clock, or the newest block's
time if that is later: what is due by it is due on chain, but for the difference of the clocks.
"""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from functools import partial
from typing import Annotated

import msgspec
from msgspec import structs

from cvms.errors import FieldProblem, InvalidRequest, VaultNotFound
from cvms.http.framework import schemas
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import MAX_AMOUNT, Body, Limit, owner_in_path
from cvms.http.framework.response import Response, with_strong_etag, with_weak_etag
from cvms.http.framework.routing import RouteGroup
from cvms.http.vaults.balance_routes import open_vault, version_of
from cvms.http.vaults.indexed_reads import read_indexed
from cvms.http.vaults.state_schemas import (
    DAY_SECONDS,
    VaultConfig,
    VaultLimits,
    VaultState,
    VaultTimelocks,
    vault_state,
)
from cvms.store.index import cursor as cursors
from cvms.store.index.cursor import Frontier
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import history, listing
from cvms.store.vaults.listing import Place, Sort
from cvms.store.vaults.vaults import VaultRow

CursorText = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,200}\Z")]
Key = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
OwnerText = Annotated[str, msgspec.Meta(pattern=r"^[1-9A-HJ-NP-Za-km-z]{32,44}\Z")]

# Public keys have 32 to 44 characters, so this does not match the other routes of /api/vault/.
OWNER = "<string(minlength=32,maxlength=44):owner>"

ROUTES = RouteGroup("vaults", refusals=(VaultNotFound,), indexed=True)


class VaultsQuery(Body, frozen=True):
    limit: Limit = 50
    cursor: CursorText | None = None
    min_balance: Key = 0
    sort: Sort = "owner"


class VaultList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of open vaults. `next_cursor` is null on the last page."""

    vaults: list[schemas.Balance]
    next_cursor: str | None


class PageCursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The end of a page in its sort order. Opaque to clients."""

    sort: Sort
    key: Key
    owner: OwnerText


@ROUTES.get("/api/vaults", replies={200: VaultList, 304: None}, refusals=())
async def list_vaults(deps: Dependencies, query: VaultsQuery) -> Response:
    """List the open vaults.

    Pass `next_cursor` of a page as `cursor`, with the same `sort`, to get the page after it. The
    sort `slot` puts the vaults that changed last first.

    Vaults that are created or closed meanwhile do not disturb the pages. A vault whose sort key
    (balance or slot) moves past the cursor may appear twice or not at all.
    """
    after = None if query.cursor is None else _place(query.cursor, query.sort)
    read = partial(
        listing.page,
        sort=query.sort,
        after=after,
        min_balance=query.min_balance,
        limit=query.limit + 1,
    )
    rows = await read_indexed(deps, read)
    page = rows[: query.limit]
    next_cursor = None
    if len(rows) > query.limit:
        next_cursor = _cursor_after(listing.place_of(page[-1], query.sort), query.sort)
    vaults = [schemas.reply_of(row, schemas.Balance) for row in page]
    return with_strong_etag(VaultList(vaults=vaults, next_cursor=next_cursor))


@ROUTES.get(f"/api/vault/{OWNER}", replies={200: VaultState, 304: None})
async def get_vault(deps: Dependencies, owner: str) -> Response:
    """Get a vault.

    Returns the whole account as of `slot`. 404 if the vault is closed.
    """
    return await _respond(deps, owner, VaultState)


@ROUTES.get(
    "/api/vault/config/<owner>", replies={200: VaultConfig, 304: None}, name="get_vault_config"
)
async def get_config(deps: Dependencies, owner: str) -> Response:
    """Get a vault's configuration.

    Returns who may act for the vault, and the limits of withdrawals.
    """
    return await _respond(deps, owner, VaultConfig)


@ROUTES.get("/api/vault/timelocks/<owner>", replies={200: VaultTimelocks, 304: None})
async def get_timelocks(deps: Dependencies, owner: str) -> Response:
    """List a vault's timelocks.

    Each comes with the seconds that remain until it matures.
    """
    return await _respond(deps, owner, VaultTimelocks)


@ROUTES.get("/api/vault/limits/<owner>", replies={200: VaultLimits, 304: None})
async def get_limits(deps: Dependencies, owner: str) -> Response:
    """Get a vault's withdrawal limits.

    Returns the rate limit and how much of it is used, what was withdrawn within the last day, and
    the withdrawals that were requested.
    """
    key = str(owner_in_path(owner))

    async def read(conn: Connection) -> tuple[VaultRow, Frontier, int]:
        row = await open_vault(conn, key)
        frontier = await cursors.frontier(conn, str(deps.programs.vault))
        since = frontier.now - timedelta(seconds=DAY_SECONDS)
        return row, frontier, await history.withdrawn_since(conn, key, since)

    row, frontier, used = await read_indexed(deps, read)
    state = vault_state(row, frontier.now)
    limit = None if state.rate is None else state.rate.limit
    limits = structs.replace(schemas.reply_of(state, VaultLimits), used=used, limit=limit)
    return with_weak_etag(limits, f"{version_of(row)}-{state.phase}-{used}")


async def _respond(deps: Dependencies, owner: str, reply: type[msgspec.Struct]) -> Response:
    """Return the part of the vault's state that this reply contains."""
    key = str(owner_in_path(owner))

    async def read(conn: Connection) -> tuple[VaultRow, Frontier]:
        row = await open_vault(conn, key)
        return row, await cursors.frontier(conn, str(deps.programs.vault))

    row, frontier = await read_indexed(deps, read)
    state = vault_state(row, frontier.now)
    return with_weak_etag(schemas.reply_of(state, reply), f"{version_of(row)}-{state.phase}")


def _cursor_after(place: Place, sort: Sort) -> str:
    raw = msgspec.json.encode(PageCursor(sort, place.key, place.owner))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _place(text: str, sort: Sort) -> Place:
    """Decode a cursor. Raises InvalidRequest unless it belongs to this list and this sort."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
        cursor = msgspec.json.decode(raw, type=PageCursor)
    except (binascii.Error, msgspec.DecodeError, UnicodeError):
        raise _invalid_cursor("not a cursor of this list") from None
    if cursor.sort != sort:
        raise _invalid_cursor(f"for the sort {cursor.sort}")
    return Place(cursor.key, cursor.owner)


def _invalid_cursor(message: str) -> InvalidRequest:
    return InvalidRequest(
        f"The cursor is {message}. Use next_cursor of the previous page, with the same sort.",
        [FieldProblem("cursor", message)],
    )
