"""Messages of transactions that nodes have in final blocks."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from solders.transaction import VersionedTransaction

from cvms.chain.rpc.call_params import MAX_TRANSACTION_VERSION
from cvms.chain.rpc.responses import unexpected
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.rpc.transport.call_state import Call
from cvms.chain.types import Commitment, Slot


@dataclass(frozen=True, slots=True)
class LandedMessage:
    """The message of a transaction in a finalized block, and the error if it failed."""

    message: bytes
    slot: Slot
    err: Any


async def read_landed(rpc: RpcClient, signatures: Sequence[str]) -> Mapping[str, LandedMessage]:
    """Return the finalized transactions by signature, as far as a node has them."""
    options = {
        "commitment": Commitment.FINALIZED,
        "encoding": "base64",
        "maxSupportedTransactionVersion": MAX_TRANSACTION_VERSION,
    }
    answers = await rpc.batch(
        [Call("getTransaction", [each, options], _read, may_lack=True) for each in signatures]
    )
    return {
        signature: answer
        for signature, answer in zip(signatures, answers, strict=True)
        if isinstance(answer, LandedMessage)
    }


def _read(answer: Any) -> LandedMessage | None:
    if answer is None:
        return None
    try:
        text, _ = answer["transaction"]
        message = VersionedTransaction.from_bytes(base64.b64decode(text)).message
        return LandedMessage(bytes(message), Slot(int(answer["slot"])), answer["meta"]["err"])
    except (LookupError, TypeError, ValueError) as error:
        raise unexpected("getTransaction", str(error)) from None
