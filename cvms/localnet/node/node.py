"""One node: what it knows of the chain, which may be less than all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from solders.pubkey import Pubkey

from cvms.localnet.ledger.chain import Chain
from cvms.localnet.node.faults import Faults
from cvms.localnet.node.log_limit import limited
from cvms.localnet.types import Block, Commitment, Entry


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """The chain as this node sees it, `faults.lag` blocks late."""

    chain: Chain
    faults: Faults

    @property
    def tip(self) -> Block:
        return self.bank(Commitment.PROCESSED)

    def bank(self, commitment: Commitment) -> Block:
        """The newest block that, as far as the node knows, has reached `commitment`."""
        return self.chain.blocks.at(commitment, behind=self.faults.lag)

    def reached(self, block: Block) -> Commitment:
        """The strongest commitment a block has reached."""
        for commitment in (Commitment.FINALIZED, Commitment.CONFIRMED):
            if block.height <= self.bank(commitment).height:
                return commitment
        return Commitment.PROCESSED

    # --- history -------------------------------------------------------------------------------

    @property
    def first_slot(self) -> int:
        """The oldest slot it has not forgotten."""
        return self.faults.history.first_slot

    def block(self, slot: int) -> Block | None:
        return self.chain.ledger.block(slot) if self._knows(slot) else None

    def entry(self, signature: str) -> Entry | None:
        entry = self.chain.ledger.entry(signature)
        return self.shown(entry) if entry is not None and self._knows(entry.slot) else None

    def entries_in(self, slot: int) -> list[Entry]:
        return [self.shown(entry) for entry in self.chain.ledger.entries_in(slot)]

    def position(self, signature: str) -> tuple[int, int] | None:
        """The slot, and the index in its block, of a transaction."""
        position = self.chain.ledger.position(signature)
        return position if position is not None and self._knows(position[0]) else None

    def mentioning(
        self, key: Pubkey, *, below: tuple[int, int], above: tuple[int, int], limit: int
    ) -> list[Entry]:
        """Transactions with `key` among their accounts, newest first, between two positions."""
        above = max(above, (self.first_slot, -1))
        return self.chain.ledger.mentioning(key, below=below, above=above, limit=limit)

    def misses(self, entry: Entry) -> bool:
        """Whether it fails this time to find a transaction that it lists."""
        missing = self.faults.history
        if not missing.missing:
            return False
        blocks = self.chain.blocks
        oldest = blocks.after(self.tip.height - missing.missing_blocks, self.tip.height)[:1]
        recent = bool(oldest) and entry.slot >= oldest[0].slot
        return recent and self.faults.happens(missing.missing)

    def shown(self, entry: Entry) -> Entry:
        """The transaction as this node recorded it."""
        kept = self.faults.history
        if kept.log_bytes is None and not kept.no_inner_instructions:
            return entry
        meta = entry.meta | {"logMessages": self.logs(entry.meta["logMessages"])}
        if kept.no_inner_instructions:
            meta["innerInstructions"] = None
        return replace(entry, meta=meta)

    def logs(self, lines: list[str]) -> list[str]:
        """A run's logs as this node collects them."""
        limit = self.faults.history.log_bytes
        return lines if limit is None else limited(lines, limit)

    def _knows(self, slot: int) -> bool:
        return self.first_slot <= slot <= self.tip.slot
