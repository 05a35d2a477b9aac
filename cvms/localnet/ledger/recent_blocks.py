"""The recent blocks: which is the tip, which have reached a commitment, whose hash is recent."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

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
        """Heights below which no commitment is, however far the tip stepped back in a fork."""
        self.retained = self._blocks[0].height
        """From this height on it is known what every account was."""
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
        """The newest block that has reached `commitment`; the oldest one while none has.

        `behind`: that of so many blocks ago, or the oldest whose accounts are still known.
        """
        height = max(self.tip.height - self._lags[commitment], self.reached.get(commitment, 0))
        oldest = self._blocks[0].height
        return self._blocks[max(height - behind, self.retained, oldest) - oldest]

    def after(self, height: int, until: int) -> list[Block]:
        """Blocks above `height` up to and with `until`, oldest first."""
        first = self._blocks[0].height
        return [self._blocks[h - first] for h in range(max(height + 1, first), until + 1)]

    def drop_after(self, height: int) -> list[Block]:
        """Drop the blocks above `height`, and give them, oldest first.

        A block below keeps the commitment it has.
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
        """Whether a transaction with this block hash could land in `bank`."""
        height = self._heights.get(blockhash)
        return height is not None and height <= bank.height <= height + MAX_HASH_AGE

    def slot_hashes(self) -> list[tuple[int, Hash]]:
        """What the SlotHashes sysvar holds in the tip: its ancestors, newest first."""
        ancestors = list(self._blocks)[-SLOT_HASHES - 1 : -1]
        return [(block.slot, block.blockhash) for block in reversed(ancestors)]


def kept_blocks(timing: Timing) -> int:
    return max(SLOT_HASHES + 1, STATUS_AGE + 1, timing.finalized_lag + 2)
