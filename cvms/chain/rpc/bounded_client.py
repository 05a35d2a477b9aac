"""The chain as far as one transaction of a program: what came after it is not listed."""

from __future__ import annotations

from functools import partial

from solders.pubkey import Pubkey

from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Slot
from cvms.errors import GapNotClosed

PAGE = 1000


class BoundedRpcClient(RpcClient):
    """An Rpc whose list of the program's transactions ends with `last`; all else is as of now."""

    def __init__(self, rpc: RpcClient, *, program: Pubkey, last: str) -> None:
        super().__init__(rpc._transport)
        self._program = program
        self._last = last

    async def get_signatures_for_address(
        self,
        address: Pubkey,
        *,
        commitment: Commitment,
        limit: int = PAGE,
        before: str | None = None,
        until: str | None = None,
        min_context_slot: Slot | None = None,
    ) -> list[SignatureInfo]:
        """As Rpc's. Raises GapNotClosed when the node does not list `last` at all."""
        ask = partial(
            super().get_signatures_for_address,
            address,
            commitment=commitment,
            until=until,
            min_context_slot=min_context_slot,
        )
        if before is not None or address != self._program or not await self._listed(commitment):
            return await ask(limit=limit, before=before)
        place: str | None = None
        while True:
            page = await ask(limit=PAGE, before=place)
            listed = [info.signature for info in page]
            if self._last in listed:
                found = page[listed.index(self._last) :][:limit]
                break
            if len(page) < PAGE:
                raise GapNotClosed(f"the node does not list {self._last}")
            place = listed[-1]
        if len(page) == PAGE and len(found) < limit:
            found += await ask(limit=limit - len(found), before=found[-1].signature)
        return found

    async def _listed(self, commitment: Commitment) -> bool:
        """Whether a list of this commitment has `last`; all of one that does not is older."""
        if commitment is not Commitment.FINALIZED:
            return True
        [status] = await self.get_signature_statuses([self._last])
        return status is None or status.commitment is Commitment.FINALIZED
