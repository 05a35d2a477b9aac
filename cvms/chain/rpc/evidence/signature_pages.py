"""Pages of `getSignaturesForAddress`, which lists backwards from the newest transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Self

from cvms.chain.rpc.call_params import SIGNATURES_PER_CALL
from cvms.chain.rpc.responses import SignatureInfo
from cvms.errors import GapNotClosed


class SignaturePages:
    """Iterator over the pages that `get` returns, newest first.

    A page that is not full is not the last: some providers cut theirs. The list ends with an empty
    one. Raises GapNotClosed for a page that does not go on from the one before, as when the node
    does not know where that ended, and for one that repeats a transaction of the slot it begins in:
    slots that never increase and signatures that do not repeat make every list end.

    `get` is an RpcClient's `get_signatures_for_address` without `limit` and `before`. This is not
    an async generator, because a caller that stops early would have to close one.
    """

    def __init__(
        self,
        get: Callable[..., Awaitable[list[SignatureInfo]]],
        *,
        page_size: int = SIGNATURES_PER_CALL,
    ) -> None:
        self._get = get
        self._page_size = page_size
        self._last_slot: list[SignatureInfo] = []
        """The entries listed so far of the slot that the last page ended in."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[SignatureInfo]:
        before = self._last_slot[-1].signature if self._last_slot else None
        page = await self._get(limit=self._page_size, before=before)
        listed = [*self._last_slot, *page]
        check_order(listed)
        if not page:
            raise StopAsyncIteration
        self._last_slot = [info for info in listed if info.slot == page[-1].slot]
        return page


def check_order(newest_first: Sequence[SignatureInfo]) -> None:
    """Check that slots do not increase along the list, and that no transaction is listed twice.

    Raises GapNotClosed.
    """
    for newer, older in pairwise(newest_first):
        if older.slot > newer.slot:
            raise GapNotClosed(
                f"the node lists {older.signature} of slot {older.slot} as older than one of slot "
                f"{newer.slot}"
            )
    if len({info.signature for info in newest_first}) < len(newest_first):
        raise GapNotClosed("the node lists a transaction twice")
