"""List of the transactions between the cursor and the head of the chain.

A node that does not know the signature `until` answers `getSignaturesForAddress` with an error, and
an older one as if it was not given, or with nothing. So a page proves nothing by itself. A list is
used only if it ends with the cursor's own signature, in the slot in which it was applied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from solders.pubkey import Pubkey

from cvms.chain.rpc.call_params import SIGNATURES_PER_CALL
from cvms.chain.rpc.error_codes import TRANSACTION_NOT_FOUND
from cvms.chain.rpc.evidence.signature_pages import SignaturePages
from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Slot
from cvms.errors import CursorNotListed, GapNotClosed, GapTooLong, RpcError
from cvms.store.index.cursor import Cursor

LONGEST_GAP = 20_000
"""Signatures held in memory at once, about 6 MB; a longer gap is backfilled."""


async def list_signatures_since(
    rpc: RpcClient,
    program: Pubkey,
    *,
    cursor: Cursor | None,
    at_least: Slot,
    page_size: int = SIGNATURES_PER_CALL,
    longest: int = LONGEST_GAP,
) -> list[SignatureInfo]:
    """Return the program's transactions after the cursor, oldest first, including failed ones.

    The node must have reached the slot `at_least`. Without a cursor, return the whole history.
    Raises CursorNotListed if the cursor's transaction is not in its slot: the node's history does
    not reach it, or a fork has dropped it. Raises GapTooLong after `longest` transactions, and
    GapNotClosed if the list is out of order or has duplicates.
    """
    get = partial(
        rpc.get_signatures_for_address,
        program,
        commitment=Commitment.CONFIRMED,
        min_context_slot=at_least,
    )
    read = partial(_read_back, cursor=cursor, page_size=page_size, longest=longest)
    if cursor is None or cursor.previous_signature is None:
        return await read(get)
    try:
        return await read(partial(get, until=cursor.previous_signature))
    except RpcError as error:
        if error.code != TRANSACTION_NOT_FOUND:
            raise
    except CursorNotListed:
        pass
    # Without the bound the list shows whether the node knows the cursor all the same.
    return await read(get)


async def _read_back(
    get: Callable[..., Awaitable[list[SignatureInfo]]],
    *,
    cursor: Cursor | None,
    page_size: int,
    longest: int,
) -> list[SignatureInfo]:
    newest_first: list[SignatureInfo] = []
    try:
        async for page in SignaturePages(get, page_size=page_size):
            after, reached = split_at_cursor(page, cursor)
            newest_first += after
            if reached:
                break
            if len(newest_first) > longest:
                raise GapTooLong(f"more than {longest} transactions after {describe(cursor)}")
        else:
            if cursor is not None:
                raise CursorNotListed(f"the node's history does not reach {describe(cursor)}")
    except RpcError as error:
        if error.code == TRANSACTION_NOT_FOUND and newest_first:
            raise GapNotClosed(f"the node lost its place in its own list: {error}") from error
        raise
    if len({info.signature for info in newest_first}) < len(newest_first):
        raise GapNotClosed("the node lists a transaction twice")
    return newest_first[::-1]


def split_at_cursor(
    newest_first: Sequence[SignatureInfo], cursor: Cursor | None
) -> tuple[Sequence[SignatureInfo], bool]:
    """Return the transactions after the cursor, and whether its own is listed.

    Raises CursorNotListed if the cursor's transaction cannot follow in the list.
    """
    if cursor is None:
        return newest_first, False
    for index, info in enumerate(newest_first):
        if (info.signature, info.slot) == (cursor.signature, cursor.slot):
            return newest_first[:index], True
        if info.signature == cursor.signature or info.slot < cursor.slot:
            raise CursorNotListed(f"the node does not have {describe(cursor)}")
    return newest_first, False


def describe(cursor: Cursor | None) -> str:
    """Return the position of the cursor for messages."""
    return "the start" if cursor is None else f"{cursor.signature} in slot {cursor.slot}"
