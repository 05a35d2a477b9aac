"""Evidence that a transaction is finalized, from nodes that have lost its status."""

from __future__ import annotations

from cvms.chain.rpc.evidence.absence_proof import lacks_transaction
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Slot
from cvms.errors import ChainUnavailable, RpcError
from cvms.store.index.applied_transactions import AppliedTransaction


async def is_finalized(rpc: RpcClient, row: AppliedTransaction) -> bool:
    """Return whether a node shows that the finalized block of the row's slot contains it.

    False is no evidence. The transaction itself names its slot, for providers that serve no blocks.
    """
    if (lacks := await _block_lacks(rpc, row)) is not None:
        return not lacks
    try:
        [record] = await rpc.get_transactions([row.signature], commitment=Commitment.FINALIZED)
    except (RpcError, ChainUnavailable):
        return False
    return record is not None and record.slot == row.slot


async def _block_lacks(rpc: RpcClient, row: AppliedTransaction) -> bool | None:
    try:
        return await lacks_transaction(
            rpc, row.signature, Slot(row.slot), commitment=Commitment.FINALIZED
        )
    except (RpcError, ChainUnavailable):
        return None
