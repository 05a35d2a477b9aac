"""RPC client that ends a program's list of transactions at a given one."""

from __future__ import annotations

from functools import partial

from solders.pubkey import Pubkey

from cvms.chain.rpc.call_params import SIGNATURES_PER_CALL
from cvms.chain.rpc.evidence.signature_pages import SignaturePages
from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Slot
from cvms.errors import GapNotClosed


class BoundedRpcClient(RpcClient):
    """RpcClient for which `last` is the newest transaction of `program`.

    Only the list is bounded: everything else is as of now.
    """

    def __init__(self, rpc: RpcClient, *, program: Pubkey, last: str) -> None:
        super().__init__(rpc._transport)
        self._program = program
        self._last = last

    async def get_signatures_for_address(
        self,
        address: Pubkey,
        *,
        commitment: Commitment,
        limit: int,
        before: str | None = None,
        until: str | None = None,
        min_context_slot: Slot | None = None,
    ) -> list[SignatureInfo]:
        """As RpcClient's. Raises GapNotClosed if the node does not list `last` at all."""
        get = partial(
            super().get_signatures_for_address,
            address,
            commitment=commitment,
            until=until,
            min_context_slot=min_context_slot,
        )
        if before is not None or address != self._program or not await self._lists_last(commitment):
            return await get(limit=limit, before=before)
        async for page in SignaturePages(get):
            signatures = [info.signature for info in page]
            if self._last in signatures:
                found = page[signatures.index(self._last) :][:limit]
                break
        else:
            raise GapNotClosed(f"the node does not list {self._last}")
        if len(page) == SIGNATURES_PER_CALL and len(found) < limit:
            found += await get(limit=limit - len(found), before=found[-1].signature)
        return found

    async def _lists_last(self, commitment: Commitment) -> bool:
        """Return whether a list of this commitment holds `last`.

        A list of finalized transactions may not reach it yet; then all of it is older.
        """
        if commitment is not Commitment.FINALIZED:
            return True
        [status] = await self.get_signature_statuses([self._last])
        return status is None or status.commitment is Commitment.FINALIZED
