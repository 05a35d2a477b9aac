"""Types that keep slots, heights and amounts apart, and the ids of the programs and the mint."""

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
# SHA-256 of "cvms yield pool 0", the first such number whose hash is on the curve, as the id of a
# program that a key pair deployed is. Nobody can know its private key.
YIELD_POOL_PROGRAM = "7ubN3FoNzQsNFrdnHDn86ipow8F7Q2Jtx9zw4LTyDmtr"
USDT_MINT = "4QHVBbG3H8kbwvcSwPnze3sC91kdeYWxNf8S5hkZ9nbZ"


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs and the mint, from which every other address is derived."""

    vault: Pubkey
    position_manager: Pubkey
    mint: Pubkey
    yield_pool: Pubkey = field(default_factory=lambda: Pubkey.from_string(YIELD_POOL_PROGRAM))
