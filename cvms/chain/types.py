"""Small types that keep slots, heights and amounts apart, and the ids all else derives from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NewType

from solana.rpc.commitment import Commitment as Commitment  # noqa: PLC0414 (re-exported)
from solders.pubkey import Pubkey

Slot = NewType("Slot", int)
BlockHeight = NewType("BlockHeight", int)
Lamports = NewType("Lamports", int)
Amount = NewType("Amount", int)  # the token's smallest unit


@dataclass(frozen=True, slots=True)
class Account:
    """An account as a node returns it."""

    lamports: Lamports
    owner: Pubkey
    data: bytes
    executable: bool


VAULT_PROGRAM = "5qgA2qcz6zXYiJJkomV1LJv8UhKueyNsqeCWJd6jC9pT"


POSITION_MANAGER_PROGRAM = "EMHew6227FX9PUhDGKwc8FHsEASZf5Fd4GWryuEXokT"


# SHA-256 of "cvms yield pool", which is off the curve: nobody can hold a key of it.
YIELD_POOL_PROGRAM = "2Q32QtPxmEpJYFvXevzf3VmN75BNcW16vThwcoAWkmjj"


USDT_MINT = "4QHVBbG3H8kbwvcSwPnze3sC91kdeYWxNf8S5hkZ9nbZ"


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs and the mint; every address of the system is derived from these."""

    vault: Pubkey
    position_manager: Pubkey
    mint: Pubkey
    yield_pool: Pubkey = field(default_factory=lambda: Pubkey.from_string(YIELD_POOL_PROGRAM))
