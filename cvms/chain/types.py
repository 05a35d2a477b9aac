"""Small types that keep slots, heights and amounts apart, and the ids all else derives from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from solders.pubkey import Pubkey

Slot = NewType("Slot", int)
BlockHeight = NewType("BlockHeight", int)
Lamports = NewType("Lamports", int)
Amount = NewType("Amount", int)  # the token's smallest unit


class Commitment(StrEnum):
    """How sure a node is that a block stays."""

    PROCESSED = "processed"
    CONFIRMED = "confirmed"
    FINALIZED = "finalized"


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs and the mint; every address of the system is derived from these."""

    vault: Pubkey
    position_manager: Pubkey
    mint: Pubkey
