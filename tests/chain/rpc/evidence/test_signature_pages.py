"""Pages of a list of transactions, from nodes that list wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import pytest
import trio

from cvms.chain.rpc.evidence.signature_pages import SignaturePages
from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.types import Commitment, Slot
from cvms.errors import GapNotClosed


def listed(signature: str, slot: int) -> SignatureInfo:
    return SignatureInfo(signature, Slot(slot), None, None, Commitment.FINALIZED)


class Node:
    """A node that lists these, newest first, or one on each page, over and over."""

    def __init__(self, newest_first: Sequence[SignatureInfo], *, circles: bool = False) -> None:
        self._listed = list(newest_first)
        self._circle = cycle(newest_first) if circles else None

    async def get(self, *, limit: int, before: str | None) -> list[SignatureInfo]:
        await trio.lowlevel.checkpoint()
        if self._circle is not None:
            return [next(self._circle)]
        signatures = [info.signature for info in self._listed]
        start = signatures.index(before) + 1 if before else 0
        return self._listed[start : start + limit]


@pytest.mark.parametrize("page_size", [1, 2, 3, 10])
async def test_a_list_is_read_to_its_end(page_size: int) -> None:
    slots = (9, 9, 9, 7, 5, 5)
    newest_first = [listed(name, slot) for name, slot in zip("fedcba", slots, strict=True)]
    pages = SignaturePages(Node(newest_first).get, page_size=page_size)
    assert [info async for page in pages for info in page] == newest_first


@pytest.mark.parametrize("length", [1, 2, 3])
async def test_pages_that_repeat_within_a_slot_end_with_an_error(length: int) -> None:
    node = Node([listed(name, 9) for name in "abc"[:length]], circles=True)
    with trio.fail_after(5), pytest.raises(GapNotClosed, match="twice"):
        async for _ in SignaturePages(node.get):
            pass
