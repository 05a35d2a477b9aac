"""Recent blocks: the tip, the block at each commitment, and the hashes that are still valid."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from solders.hash import Hash

from cvms.localnet.types import Block, Commitment, Timing

MAX_HASH_AGE = 150
"""Age in blocks up to which a block hash is valid (Agave's queue of block hashes)."""

STATUS_AGE = 300
"""Age in blocks up to which a node knows a status without a search (Agave's status cache)."""

SLOT_HASHES = 512
"""Entries of the SlotHashes sysvar."""


class RecentBlocks:
    """The newest blocks, contiguous in height. Never empty."""

    def __init__(
        self,
        blocks: Sequence[Block],
        *,
        timing: Timing,
        reached: Mapping[Commitment, int],
    ) -> None:
        self._lags = {
            Commitment.PROCESSED: 0,
            Commitment.CONFIRMED: timing.confirmed_lag,
            Commitment.FINALIZED: timing.finalized_lag,
        }
        self._blocks = deque(blocks, maxlen=kept_blocks(timing))
        self._heights = {block.blockhash: block.height for block in self._blocks}
        self.reached = dict(reached)
        """Minimum height at each commitment: a fork never lowers what was reached."""
        self.retained = self._blocks[0].height
        """The height from which on every account's versions are known."""
        self.retained = self.at(Commitment.FINALIZED).height

    def append(self, block: Block) -> None:
        if len(self._blocks) == self._blocks.maxlen:
            del self._heights[self._blocks[0].blockhash]
        self._blocks.append(block)
        self._heights[block.blockhash] = block.height

    @property
    def tip(self) -> Block:
        return self._blocks[-1]

    def at(self, commitment: Commitment, *, behind: int = 0) -> Block:
        """Return the newest block that has reached `commitment`, or the oldest if none has.

        With `behind`, as of that many blocks ago, but not before the oldest block whose accounts
        are known.
        """
        height = max(self.tip.height - self._lags[commitment], self.reached.get(commitment, 0))
        oldest = self._blocks[0].height
        return self._blocks[max(height - behind, self.retained, oldest) - oldest]

    def after(self, height: int, until: int) -> list[Block]:
        """Return the blocks above `height` up to and including `until`, oldest first."""
        first = self._blocks[0].height
        return [self._blocks[h - first] for h in range(max(height + 1, first), until + 1)]

    def drop_after(self, height: int) -> list[Block]:
        """Drop the blocks above `height`, and return them, oldest first.

        The remaining blocks keep their commitment.
        """
        later = (Commitment.CONFIRMED, Commitment.FINALIZED)
        self.reached = {level: min(self.at(level).height, height) for level in later}
        dropped: deque[Block] = deque()
        while self.tip.height > height:
            block = self._blocks.pop()
            del self._heights[block.blockhash]
            dropped.appendleft(block)
        return list(dropped)

    def accepts(self, blockhash: Hash, *, bank: Block) -> bool:
        """Return True if a transaction with this block hash can land in `bank`."""
        height = self._heights.get(blockhash)
        return height is not None and height <= bank.height <= height + MAX_HASH_AGE

    def slot_hashes(self) -> list[tuple[int, Hash]]:
        """Return the SlotHashes sysvar of the tip: its ancestors, newest first."""
        ancestors = list(self._blocks)[-SLOT_HASHES - 1 : -1]
        return [(block.slot, block.blockhash) for block in reversed(ancestors)]


def kept_blocks(timing: Timing) -> int:
    return max(SLOT_HASHES + 1, STATUS_AGE + 1, timing.finalized_lag + 2)
