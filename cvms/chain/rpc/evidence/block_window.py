"""What one endpoint has of the blocks that could contain a transaction, and whether one does."""

from __future__ import annotations

from dataclasses import dataclass

from cvms.chain.rpc.evidence.absence_proof import (
    BLOCKHASH_BLOCKS,
    BLOCKS_PER_CALL,
    MAX_SLOTS,
    Block,
    later_start,
    linked_blocks,
    list_slots,
    read_blocks,
)
from cvms.chain.rpc.evidence.chain_tips import Tip
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import BlockHeight, Commitment, Slot


@dataclass(slots=True)
class BlockWindow:
    """The finalized blocks in question that were read so far.

    `complete`: they are all, each the parent of the next, so there is no room for another one.
    `containing` is the slot of the block that holds the transaction.
    """

    count: int = 0
    first: Slot | None = None
    last: Slot | None = None
    complete: bool = False
    containing: Slot | None = None


async def read_window(
    rpc: RpcClient,
    signature: str,
    window: BlockWindow,
    *,
    after: Slot,
    through: BlockHeight,
    tip: Tip,
) -> None:
    """Read the blocks of slots after `after`, up to the height `through`, into `window`.

    Those that are too old for a blockhash which is valid up to `through` are left out. It goes on
    after a gap. `tip` is a finalized block beyond. Raises RpcError and ChainUnavailable.
    """
    begin = await later_start(rpc, after, BlockHeight(through - BLOCKHASH_BLOCKS), tip)
    linked, last = True, None
    start, end = Slot(begin + 1), min(begin + MAX_SLOTS, tip.slot)
    while start <= end:
        slots = await list_slots(
            rpc, start, Slot(start + BLOCKS_PER_CALL - 1), Commitment.FINALIZED
        )
        for block in await read_blocks(rpc, slots, Commitment.FINALIZED):
            if block is None:
                linked = False
                continue
            blocks = await linked_blocks(rpc, block, last, begin)
            linked = linked and bool(blocks)
            for each in blocks or [block]:
                if each.height > through:
                    window.complete = linked
                    return
                _add(window, each, signature)
            last = block
        start = Slot(start + BLOCKS_PER_CALL)


def _add(window: BlockWindow, block: Block, signature: str) -> None:
    window.count += 1
    window.first = block.slot if window.first is None else window.first
    window.last = block.slot
    if signature in block.signatures:
        window.containing = block.slot
