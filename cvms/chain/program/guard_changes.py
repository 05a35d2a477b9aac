"""Changes of an owner's guards, as variants of the IDL's `GuardChange`."""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey

from cvms.chain.borsh import I64, U8, U32, U64


@dataclass(frozen=True, slots=True)
class Multisig:
    """New signers and threshold; a threshold of 0 removes the multisig."""

    signers: tuple[Pubkey, ...]
    threshold: U8


@dataclass(frozen=True, slots=True)
class WithdrawMinDelay:
    seconds: I64


@dataclass(frozen=True, slots=True)
class WithdrawRateLimit:
    window_seconds: U32
    max_amount: U64


@dataclass(frozen=True, slots=True)
class WhitelistAddition:
    address: Pubkey


@dataclass(frozen=True, slots=True)
class TransferAllowance:
    amount: U64


GuardChange = (
    Multisig | WithdrawMinDelay | WithdrawRateLimit | WhitelistAddition | TransferAllowance
)
