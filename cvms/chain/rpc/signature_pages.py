"""Pages of `getSignaturesForAddress`, which lists backwards from the newest transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self

from cvms.chain.rpc.limits import SIGNATURES_PER_CALL
from cvms.chain.rpc.responses import SignatureInfo


class SignaturePages:
    """Iterator over the pages that `get` returns, newest first; the last is not full.

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
        self._page: list[SignatureInfo] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[SignatureInfo]:
        if self._page is not None and len(self._page) < self._page_size:
            raise StopAsyncIteration
        before = self._page[-1].signature if self._page else None
        self._page = await self._get(limit=self._page_size, before=before)
        return self._page
