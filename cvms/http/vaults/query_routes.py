"""Every vault, and the whole of one: its state, settings, timelocks and limits.

All comes from the books. Time is the database's clock, or the newest block's time where the chain's
clock is ahead of it: what is due by it is due on chain, give or take what the clocks differ by.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from quart import Response

from cvms.errors import FieldProblem, InvalidRequest, VaultNotFound
from cvms.http.framework import schemas
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import MAX_AMOUNT, Body, Limit, owner_in_path
from cvms.http.framework.response import with_strong_etag, with_weak_etag
from cvms.http.framework.routing import Route
from cvms.http.vaults import state_schemas
from cvms.http.vaults.balance_routes import open_vault, version_of
from cvms.http.vaults.state_schemas import VaultView
from cvms.store.index import cursor as cursors
from cvms.store.vaults import listing
from cvms.store.vaults.listing import Place, Sort

CursorText = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,200}\Z")]
Key = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
OwnerText = Annotated[str, msgspec.Meta(pattern=r"^[1-9A-HJ-NP-Za-km-z]{32,44}\Z")]


class VaultsQuery(Body, frozen=True):
    limit: Limit = 50
    cursor: CursorText | None = None
    min_balance: Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)] = 0
    sort: Sort = "owner"


class VaultList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of open vaults; `next_cursor` is null on the last one."""

    vaults: list[schemas.Balance]
    next_cursor: str | None


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page ended, and in which order. Opaque to clients."""

    sort: Sort
    key: Key
    owner: OwnerText


async def list_vaults(deps: Dependencies, query: VaultsQuery) -> Response:
    """The open vaults, page by page; `slot` sorts those that changed last first.

    Vaults that come or go do not disturb the pages. One whose balance (or slot) moves past the
    cursor meanwhile may be seen twice or not at all where that is what they are sorted by.
    """
    after = None if query.cursor is None else _place(query.cursor, query.sort)
    async with deps.database.connection() as conn:
        rows = await listing.page(
            conn,
            sort=query.sort,
            after=after,
            min_balance=query.min_balance,
            limit=query.limit + 1,
        )
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return with_strong_etag(
        VaultList(
            vaults=[schemas.balance_reply(row) for row in shown],
            next_cursor=_cursor_after(listing.place_of(shown[-1], query.sort), query.sort)
            if more
            else None,
        )
    )


async def get_vault(deps: Dependencies, owner: str) -> Response:
    """A vault's whole state and the slot it holds for."""
    return await _view(deps, owner, VaultView.state)


async def get_config(deps: Dependencies, owner: str) -> Response:
    """Who may act for a vault, and within which bounds."""
    return await _view(deps, owner, VaultView.config)


async def get_timelocks(deps: Dependencies, owner: str) -> Response:
    """A vault's timelocks, with the seconds that remain of each."""
    return await _view(deps, owner, VaultView.timelock_list)


async def get_limits(deps: Dependencies, owner: str) -> Response:
    """What bounds a vault's withdrawals: its rate, what is used of it, and what was requested."""
    return await _view(deps, owner, VaultView.limits)


async def _view(deps: Dependencies, owner: str, view: Callable[[VaultView], Any]) -> Response:
    key = str(owner_in_path(owner))
    async with deps.database.connection() as conn:
        row = await open_vault(conn, key)
        frontier = await cursors.frontier(conn, str(deps.programs.vault))
    reading = VaultView(row, frontier.now)
    return with_weak_etag(view(reading), f"{version_of(row)}-{reading.phase}")


def _cursor_after(place: Place, sort: Sort) -> str:
    raw = msgspec.json.encode(Cursor(sort, place.key, place.owner))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _place(text: str, sort: Sort) -> Place:
    """The place that a cursor of ours names. Raises InvalidRequest for any other text."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
        cursor = msgspec.json.decode(raw, type=Cursor)
    except (binascii.Error, msgspec.DecodeError, UnicodeError):
        raise _bad_cursor("not a cursor of this list") from None
    if cursor.sort != sort:
        raise _bad_cursor(f"of a list sorted by {cursor.sort}")
    return Place(cursor.key, cursor.owner)


def _bad_cursor(message: str) -> InvalidRequest:
    return InvalidRequest(
        f"The cursor is {message}. Take next_cursor from the page before, with the same sort.",
        [FieldProblem("cursor", message)],
    )


# Keys have 32 to 44 characters, so that the other routes below /api/vault/ keep their own names.
OWNER = "<string(minlength=32,maxlength=44):owner>"

ROUTES = (
    Route(
        method="GET",
        rule="/api/vaults",
        handler=list_vaults,
        query=VaultsQuery,
        replies={200: VaultList, 304: None},
        tags=("vaults",),
    ),
    *(
        Route(
            method="GET",
            rule=rule,
            handler=view,
            replies={200: reply, 304: None},
            refusals=(VaultNotFound,),
            tags=("vaults",),
        )
        for rule, view, reply in (
            (f"/api/vault/{OWNER}", get_vault, state_schemas.VaultState),
            ("/api/vault/config/<owner>", get_config, state_schemas.VaultConfig),
            ("/api/vault/timelocks/<owner>", get_timelocks, state_schemas.VaultTimelocks),
            ("/api/vault/limits/<owner>", get_limits, state_schemas.VaultLimits),
        )
    ),
)
