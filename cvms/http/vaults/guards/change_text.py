"""Changes of an owner's guards as short texts, which wallets show and sign.

Each change has exactly one text, so that equal changes are equal texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from solders.pubkey import Pubkey

from cvms.chain.program.guard_changes import (
    GuardChange,
    Multisig,
    TransferAllowance,
    WhitelistAddition,
    WithdrawMinDelay,
    WithdrawRateLimit,
)
from cvms.http.framework.request import MAX_AMOUNT, MAX_SIGNERS, pubkey_of

UNLIMITED = 2**64 - 1
"""The allowance that is never used up."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)


def write_change(change: GuardChange) -> str:
    """Return the text of a change."""
    match change:
        case WithdrawMinDelay(seconds):
            return f"min_delay={seconds}"
        case WithdrawRateLimit(window_seconds, max_amount):
            return f"rate_limit={window_seconds}/{max_amount}"
        case WhitelistAddition(address):
            return f"whitelist={address}"
        case TransferAllowance(amount):
            return f"transfer_allowance={'unlimited' if amount == UNLIMITED else amount}"
        case Multisig(signers, threshold):
            names = ",".join(map(str, signers))
            return f"multisig={threshold}/{names}" if names else f"multisig={threshold}"


def read_change(text: str) -> GuardChange:
    """Return the change of a text. Raises ValueError, which says what is expected."""
    kind, _, value = text.partition("=")
    match kind, value.split("/"):
        case "min_delay", [seconds]:
            return WithdrawMinDelay(_number(seconds, MAX_AMOUNT))
        case "rate_limit", [window_seconds, max_amount]:
            window = _number(window_seconds, 2**32 - 1)
            return WithdrawRateLimit(window, _number(max_amount, UNLIMITED))
        case "whitelist", [address]:
            return WhitelistAddition(pubkey_of(address))
        case "transfer_allowance", [amount]:
            return TransferAllowance(read_allowance(amount))
        case "multisig", [threshold]:
            return Multisig((), _number(threshold, MAX_SIGNERS))
        case "multisig", [threshold, names]:
            return Multisig(_signers(names.split(",")), _number(threshold, MAX_SIGNERS))
    raise ValueError("Expected min_delay, rate_limit, whitelist, transfer_allowance or multisig")


def read_allowance(text: str) -> int:
    """Return the amount of a text, or UNLIMITED. Raises ValueError."""
    if text == "unlimited":
        return UNLIMITED
    return _number(text, UNLIMITED - 1)


def _number(text: str, most: int) -> int:
    number = int(text) if _NUMBER.fullmatch(text) else -1
    if not 0 <= number <= most:
        raise ValueError(f"Expected a whole number, 0 to {most}")
    return number


def _signers(names: Sequence[str]) -> tuple[Pubkey, ...]:
    if len(names) > MAX_SIGNERS:
        raise ValueError(f"Expected at most {MAX_SIGNERS} signers")
    return tuple(map(pubkey_of, names))
