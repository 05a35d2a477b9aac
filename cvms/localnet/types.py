"""Values that the modules of the local chain share: blocks, transactions, timing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from solana.rpc.commitment import Commitment as Commitment  # noqa: PLC0414 (re-exported)
from solders.hash import Hash
from solders.pubkey import Pubkey

Json: TypeAlias = Any
"""A value of the `json` module. Its shape is checked where it enters."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Length of a slot, and the number of blocks between the tip and each commitment."""

    slot_seconds: float = 0.4
    confirmed_lag: int = 1
    finalized_lag: int = 31


@dataclass(frozen=True, slots=True)
class Deployment:
    """A program to deploy at start, again whenever its bytes have changed."""

    program_id: Pubkey
    elf: bytes
    upgrade_authority: Pubkey | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A block. `height` counts blocks, and differs from `slot` because slots may be skipped."""

    slot: int
    parent_slot: int
    height: int
    blockhash: Hash
    time: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class DroppedBlocks:
    """Blocks that a fork dropped above `fork_point`, oldest first, with the accounts each wrote."""

    fork_point: Block
    blocks: Sequence[tuple[Block, frozenset[Pubkey]]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction in a block. `meta` is `getTransaction`'s, in the `json` encoding."""

    slot: int
    index: int
    signature: str
    message_hash: bytes
    wire: bytes
    keys: tuple[Pubkey, ...]
    """Static keys, then the writable and the read-only keys loaded from lookup tables."""
    meta: dict[str, Json]

    @property
    def err(self) -> Json:
        return self.meta["err"]
