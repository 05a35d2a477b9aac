"""Bound of the blocks in which a transaction can land whose blockhash somebody else has fetched."""

from __future__ import annotations

from typing import Any

from solders.hash import Hash

from cvms.chain.rpc.call_params import at
from cvms.chain.rpc.evidence.absence_proof import BLOCKHASH_BLOCKS
from cvms.chain.rpc.evidence.chain_tips import read_tips
from cvms.chain.rpc.responses import InContext, read
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import BlockHeight, Commitment


async def last_height_of(rpc: RpcClient, blockhash: Hash) -> BlockHeight | None:
    """Return a height after which no block can contain the blockhash, None if it is not valid now.

    The chain does not say where a blockhash is from. A node that knows it has it from no later slot
    than the node's own, and above the finalized block there is at most one block in a slot, on any
    fork. So the height may be too high by the slots that were skipped there, and is never too low.
    """
    tip = (await read_tips(rpc)).finalized
    method = "isBlockhashValid"

    def parse(answer: Any) -> InContext[bool]:
        return read(InContext[bool], answer, method)

    found = await rpc.call(method, [str(blockhash), at(Commitment.PROCESSED)], parse=parse)
    if not found.value:
        return None
    slots = max(0, found.context.slot - tip.slot)
    return BlockHeight(tip.height + slots + BLOCKHASH_BLOCKS)
