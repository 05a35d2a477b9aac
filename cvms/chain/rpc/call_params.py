"""Parameters of calls, and the limits that a Solana node sets on them.

Source: https://solana.com/docs/rpc/http.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from cvms.chain.types import Commitment

SIGNATURES_PER_CALL = 1000  # getSignaturesForAddress
ACCOUNTS_PER_CALL = 100  # getMultipleAccounts; they all hold for one slot
STATUSES_PER_CALL = 256  # getSignatureStatuses
FEE_ADDRESSES_PER_CALL = 128  # getRecentPrioritizationFees
MAX_TRANSACTION_VERSION = 1  # a node returns an error for a transaction of a later version

Options = dict[str, Any]


def at(commitment: Commitment, **options: Any) -> Options:
    """Return the options object of a call, without the options that are None."""
    given = {name: value for name, value in options.items() if value is not None}
    return {"commitment": commitment, **given}


def slice_of(data_slice: tuple[int, int] | None) -> Options | None:
    """Return the option that limits an account's data to (offset, length)."""
    return None if data_slice is None else {"offset": data_slice[0], "length": data_slice[1]}


def statuses(signatures: Sequence[str]) -> list[Any]:
    """Return the parameters of getSignatureStatuses; the node searches its whole history."""
    return [list(signatures), {"searchTransactionHistory": True}]


def send(wire: bytes, *, skip_preflight: bool, max_retries: int) -> list[Any]:
    """Return the parameters of sendTransaction."""
    options = {
        "encoding": "base64",
        "skipPreflight": skip_preflight,
        "preflightCommitment": Commitment.CONFIRMED,
        "maxRetries": max_retries,
    }
    return [base64.b64encode(wire).decode(), options]
