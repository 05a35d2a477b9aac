"""The values that the local chain's parts hand to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from solana.rpc.commitment import Commitment as Commitment  # noqa: PLC0414 (re-exported)
from solders.hash import Hash
from solders.pubkey import Pubkey

Json: TypeAlias = Any
"""What `json` reads and writes; its shape is checked where it enters."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a slot lasts, and how many blocks lie between the tip and each commitment."""

    slot_seconds: float = 0.4
    confirmed_lag: int = 1
    finalized_lag: int = 31


@dataclass(frozen=True, slots=True)
class Deployment:
    """A program that is there from the start: installed again whenever its bytes changed."""

    program_id: Pubkey
    elf: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """A slot that holds a block; `height` counts blocks, since slots may be skipped."""

    slot: int
    parent_slot: int
    height: int
    blockhash: Hash
    time: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Fork:
    """What a fork dropped above `point`: blocks, oldest first, with the accounts each wrote."""

    point: Block
    dropped: Sequence[tuple[Block, frozenset[Pubkey]]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction that a block holds.

    `meta` is what `getTransaction` shows as `meta` under the `json` encoding.
    """

    slot: int
    index: int
    signature: str
    message_hash: bytes
    wire: bytes
    keys: tuple[Pubkey, ...]
    """Static keys, then those loaded from tables: writable ones first."""
    meta: dict[str, Json]

    @property
    def err(self) -> Json:
        return self.meta["err"]
