"""One node, which may know only a part of the chain."""

from __future__ import annotations

from dataclasses import dataclass, replace

from solders.pubkey import Pubkey

from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.node.faults import NodeFaults
from cvms.localnet.node.log_limit import truncate_logs
from cvms.localnet.types import Block, Commitment, Entry


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """The chain as this node sees it, `faults.lag` blocks late."""

    chain: LocalnetChain
    faults: NodeFaults
    rpc_address: str | None = None
    pubsub_address: str | None = None

    @property
    def tip(self) -> Block:
        return self.bank(Commitment.PROCESSED)

    def bank(self, commitment: Commitment) -> Block:
        """Return the newest block that the node knows to have reached `commitment`."""
        return self.chain.blocks.at(commitment, behind=self.faults.lag)

    def reached(self, block: Block) -> Commitment:
        """Return the highest commitment that a block has reached."""
        for commitment in (Commitment.FINALIZED, Commitment.CONFIRMED):
            if block.height <= self.bank(commitment).height:
                return commitment
        return Commitment.PROCESSED

    # --- history -------------------------------------------------------------------------------

    @property
    def first_slot(self) -> int:
        """The oldest slot that the node retains."""
        return self.faults.history.first_slot

    def block(self, slot: int) -> Block | None:
        return self.chain.ledger.block(slot) if self._retains(slot) else None

    def entry(self, signature: str) -> Entry | None:
        entry = self.chain.ledger.entry(signature)
        return self.as_recorded(entry) if entry is not None and self._retains(entry.slot) else None

    def entries_in(self, slot: int, *, first: int = 0) -> list[Entry]:
        entries = self.chain.ledger.entries_in(slot, first=first)
        return [self.as_recorded(entry) for entry in entries]

    def position(self, signature: str) -> tuple[int, int] | None:
        """Return a transaction's slot and its index in the block."""
        position = self.chain.ledger.position(signature)
        return position if position is not None and self._retains(position[0]) else None

    def mentioning(
        self, key: Pubkey, *, below: tuple[int, int], above: tuple[int, int], limit: int
    ) -> list[Entry]:
        """Return transactions between two positions whose accounts include `key`, newest first."""
        above = max(above, (self.first_slot, -1))
        return self.chain.ledger.mentioning(key, below=below, above=above, limit=limit)

    def fails_to_find(self, entry: Entry) -> bool:
        """Decide whether a fault hides a transaction that the node lists."""
        missing = self.faults.history
        if not missing.missing:
            return False
        blocks = self.chain.blocks
        oldest = blocks.after(self.tip.height - missing.missing_blocks, self.tip.height)[:1]
        recent = bool(oldest) and entry.slot >= oldest[0].slot
        return recent and self.faults.happens(missing.missing)

    def as_recorded(self, entry: Entry) -> Entry:
        """Return the transaction as this node recorded it."""
        kept = self.faults.history
        if kept.log_bytes is None and not kept.no_inner_instructions:
            return entry
        meta = entry.meta | {"logMessages": self.logs(entry.meta["logMessages"])}
        if kept.no_inner_instructions:
            meta["innerInstructions"] = None
        return replace(entry, meta=meta)

    def logs(self, lines: list[str]) -> list[str]:
        """Return the logs of an execution as this node collects them."""
        limit = self.faults.history.log_bytes
        return lines if limit is None else truncate_logs(lines, limit)

    def _retains(self, slot: int) -> bool:
        return self.first_slot <= slot <= self.tip.slot
