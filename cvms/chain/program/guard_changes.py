"""Changes of an owner's guards, as variants of the IDL's `GuardChange`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import msgspec
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
_KINDS: Mapping[str, type[GuardChange]] = {kind.__name__: kind for kind in get_args(GuardChange)}


def guard_change_data(change: GuardChange) -> dict[str, Any]:
    """Return the change as JSON: its `kind`, which is the IDL's name, and its fields."""
    fields = msgspec.to_builtins(change, enc_hook=str)
    return {"kind": type(change).__name__, **fields}


def guard_change_of(data: Mapping[str, Any]) -> GuardChange:
    """Return the change that `guard_change_data` gives as `data`."""
    change: GuardChange = msgspec.convert(
        data, _KINDS[data["kind"]], dec_hook=lambda _, key: Pubkey.from_string(key)
    )
    return change
