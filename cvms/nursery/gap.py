"""Which transactions lie between the cursor and the chain's head: nothing else moves the indexer.

`getSignaturesForAddress` pages backwards from the newest. A node that does not know `until` answers
as if none was given, so a page proves nothing by itself: what was asked for has to end with the
cursor's own signature, or nothing of it is used.
"""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.chain.answers import SignatureInfo
from cvms.chain.rpc import Rpc
from cvms.chain.types import Commitment, Slot
from cvms.errors import GapNotClosed
from cvms.store.cursor import Cursor

PAGE = 1000
"""The most that a node returns for one call."""
LONGEST_GAP = 200_000
"""Signatures held in memory at once (about 60 MB); a longer gap has to be met by a fresh start."""


async def read_gap(
    rpc: Rpc, program: Pubkey, *, cursor: Cursor | None, at_least: Slot, page: int = PAGE
) -> list[SignatureInfo]:
    """The program's transactions after the cursor, oldest first, failed ones included.

    The node has to have seen the slot `at_least`. Without a cursor: the whole history.
    Raises GapNotClosed when the node's history does not reach back to the cursor.
    """
    newest_first: list[SignatureInfo] = []
    while True:
        found = await rpc.get_signatures_for_address(
            program,
            commitment=Commitment.CONFIRMED,
            limit=page,
            before=newest_first[-1].signature if newest_first else None,
            until=cursor.previous_signature if cursor else None,
            min_context_slot=at_least,
        )
        for info in found:
            if cursor is not None and info.signature == cursor.signature:
                return newest_first[::-1]
            newest_first.append(info)
        if len(found) < page:
            break
        if len(newest_first) > LONGEST_GAP:
            raise GapNotClosed(f"more than {LONGEST_GAP} transactions after {_place(cursor)}")
    if cursor is not None:
        raise GapNotClosed(f"the node's history does not reach {_place(cursor)}")
    return newest_first[::-1]


def _place(cursor: Cursor | None) -> str:
    return "the start" if cursor is None else f"{cursor.signature} in slot {cursor.slot}"
