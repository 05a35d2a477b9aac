"""How far the chain is, and what is in a final block: what a node has to know before it counts as
proof that it does not know a transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from cvms.chain.rpc.responses import Count, SignatureStatus, read, statuses
from cvms.chain.rpc.rpc_client import HIGHEST_TRANSACTION_VERSION, RpcClient
from cvms.chain.types import BlockHeight, Commitment, Slot
from cvms.errors import RpcError

# "Slot … was skipped": of the ledger, and of the long-term storage.
_SKIPPED = frozenset({-32007, -32009})


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest block of a commitment level."""

    slot: Slot
    height: BlockHeight


@dataclass(frozen=True, slots=True)
class Tips:
    """How far the chain was before something else was asked, and how far back its blocks are there:
    from `first_block` on, None when the node does not say.
    """

    confirmed: Tip
    finalized: Tip
    first_block: Slot | None

    @property
    def slot(self) -> Slot:
        """What a node must have run, so that what it does not know is not there."""
        return max(self.confirmed.slot, self.finalized.slot)

    def retains(self, slot: int) -> bool:
        """Whether the blocks from `slot` on are still there."""
        return self.first_block is not None and self.first_block <= slot


class _EpochAnswer(msgspec.Struct, frozen=True, rename="camel"):
    absolute_slot: Count
    block_height: Count


class _BlockAnswer(msgspec.Struct, frozen=True):
    signatures: list[str]


async def read_tips(rpc: RpcClient) -> Tips:
    """How far the chain is. Raises RpcError, and ChainUnavailable."""
    confirmed, finalized, first_block = await rpc.batch(
        [
            _tip_call(Commitment.CONFIRMED),
            _tip_call(Commitment.FINALIZED),
            ("getFirstAvailableBlock", []),
        ]
    )
    return Tips(_tip(confirmed), _tip(finalized), _first_block(first_block))


@dataclass(frozen=True, slots=True)
class Retention:
    """What one node knows of a transaction, and from which block on it remembers anything: None
    when it does not say.
    """

    status: SignatureStatus | None
    first_block: Slot | None


async def read_retention(rpc: RpcClient, signature: str) -> Retention:
    """In one request: that there is nothing is known only by a node that would remember it.

    Raises RpcError, and ChainUnavailable.
    """
    params: list[Any] = [[signature], {"searchTransactionHistory": True}]
    told, first_block = await rpc.batch(
        [("getSignatureStatuses", params), ("getFirstAvailableBlock", [])]
    )
    [status] = statuses(_result(told), 1).statuses
    return Retention(status, _first_block(first_block))


async def final_block(rpc: RpcClient, slot: int) -> frozenset[str] | None:
    """The signatures in the final block of this slot; empty when the slot was skipped.

    None when the node cannot say: it has no such block yet, or not any more.
    """
    method = "getBlock"
    options = {
        "commitment": Commitment.FINALIZED,
        "transactionDetails": "signatures",
        "rewards": False,
        "maxSupportedTransactionVersion": HIGHEST_TRANSACTION_VERSION,
    }
    try:
        answer = await rpc.call(method, [slot, options])
    except RpcError as error:
        return frozenset() if error.code in _SKIPPED else None
    if answer is None:
        return None
    return frozenset(read(_BlockAnswer, answer, method).signatures)


def _tip_call(commitment: Commitment) -> tuple[str, list[Any]]:
    return "getEpochInfo", [{"commitment": commitment}]


def _tip(answer: Any | RpcError) -> Tip:
    got = read(_EpochAnswer, _result(answer), "getEpochInfo")
    return Tip(Slot(got.absolute_slot), BlockHeight(got.block_height))


def _first_block(answer: Any | RpcError) -> Slot | None:
    # Some providers do not offer this method.
    if isinstance(answer, RpcError):
        return None
    return Slot(read(int, answer, "getFirstAvailableBlock"))


def _result(answer: Any | RpcError) -> Any:
    if isinstance(answer, RpcError):
        raise answer
    return answer
