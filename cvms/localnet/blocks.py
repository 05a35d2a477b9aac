"""The recent blocks: which is the tip, which have reached a commitment, whose hash is recent."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from solders.hash import Hash

from cvms.localnet.types import Block, Commitment, Timing

MAX_HASH_AGE = 150
"""A transaction lands while its block hash is at most this many blocks old (Agave's queue)."""

STATUS_AGE = 300
"""Blocks whose signatures a node knows without searching its history (Agave's status cache)."""

SLOT_HASHES = 512
"""Entries of the SlotHashes sysvar."""


class RecentBlocks:
    """The newest blocks, contiguous in height; never empty."""

    def __init__(self, blocks: Sequence[Block], *, timing: Timing) -> None:
        self._lags = {
            Commitment.PROCESSED: 0,
            Commitment.CONFIRMED: timing.confirmed_lag,
            Commitment.FINALIZED: timing.finalized_lag,
        }
        self._blocks = deque(blocks, maxlen=kept_blocks(timing))
        self._heights = {block.blockhash: block.height for block in self._blocks}

    def append(self, block: Block) -> None:
        if len(self._blocks) == self._blocks.maxlen:
            del self._heights[self._blocks[0].blockhash]
        self._blocks.append(block)
        self._heights[block.blockhash] = block.height

    @property
    def tip(self) -> Block:
        return self._blocks[-1]

    def at(self, commitment: Commitment) -> Block:
        """The newest block that has reached `commitment`; the oldest one while none has."""
        return self._blocks[max(0, len(self._blocks) - 1 - self._lags[commitment])]

    def after(self, height: int, until: int) -> list[Block]:
        """Blocks above `height` up to and with `until`, oldest first."""
        first = self._blocks[0].height
        return [self._blocks[h - first] for h in range(max(height + 1, first), until + 1)]

    def accepts(self, blockhash: Hash, *, bank: Block) -> bool:
        """Whether a transaction with this block hash could land in `bank`."""
        height = self._heights.get(blockhash)
        return height is not None and height <= bank.height <= height + MAX_HASH_AGE

    def slot_hashes(self) -> list[tuple[int, Hash]]:
        """What the SlotHashes sysvar holds in the tip: its ancestors, newest first."""
        ancestors = list(self._blocks)[-SLOT_HASHES - 1 : -1]
        return [(block.slot, block.blockhash) for block in reversed(ancestors)]


def kept_blocks(timing: Timing) -> int:
    return max(SLOT_HASHES + 1, STATUS_AGE + 1, timing.finalized_lag + 2)
