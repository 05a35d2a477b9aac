"""Small types that keep slots, heights and amounts apart, and the ids all else derives from."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

from cvms.config import Programs

__all__ = ["Amount", "BlockHeight", "Commitment", "Lamports", "Programs", "Slot"]

Slot = NewType("Slot", int)
BlockHeight = NewType("BlockHeight", int)
Lamports = NewType("Lamports", int)
Amount = NewType("Amount", int)  # the token's smallest unit


class Commitment(StrEnum):
    """How sure a node is that a block stays."""

    PROCESSED = "processed"
    CONFIRMED = "confirmed"
    FINALIZED = "finalized"
