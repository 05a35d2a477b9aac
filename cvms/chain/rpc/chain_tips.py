"""Chain tips, retention and finalized blocks: the evidence that a transaction does not exist.

A node that does not know a signature proves nothing, unless it has executed every block that could
hold the transaction and still retains them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from cvms.chain.rpc.error_codes import SKIPPED
from cvms.chain.rpc.responses import Count, SignatureStatus, read, statuses
from cvms.chain.rpc.rpc_client import MAX_TRANSACTION_VERSION, RpcClient
from cvms.chain.types import BlockHeight, Commitment, Slot
from cvms.errors import RpcError


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest block of a commitment level."""

    slot: Slot
    height: BlockHeight


@dataclass(frozen=True, slots=True)
class Tips:
    """Tips of the chain, read before another query.

    `first_block` is the oldest block that the node retains; None when it does not say.
    """

    confirmed: Tip
    finalized: Tip
    first_block: Slot | None

    @property
    def slot(self) -> Slot:
        """The slot that a node must have executed before its "not found" counts."""
        return max(self.confirmed.slot, self.finalized.slot)

    def retains(self, slot: int) -> bool:
        """Return whether the node retains every block from `slot` on."""
        return self.first_block is not None and self.first_block <= slot


class _EpochResponse(msgspec.Struct, frozen=True, rename="camel"):
    absolute_slot: Count
    block_height: Count


class _BlockResponse(msgspec.Struct, frozen=True):
    signatures: list[str]


async def read_tips(rpc: RpcClient) -> Tips:
    """Return the tips of the chain. Raises RpcError and ChainUnavailable."""
    confirmed, finalized, first_block = await rpc.batch(
        [
            _tip_call(Commitment.CONFIRMED),
            _tip_call(Commitment.FINALIZED),
            ("getFirstAvailableBlock", []),
        ]
    )
    return Tips(_tip(confirmed), _tip(finalized), _first_block(first_block))


@dataclass(frozen=True, slots=True)
class NodeRetention:
    """One node's status of a transaction, and the oldest block that it retains.

    `first_block` is None when the node does not say.
    """

    status: SignatureStatus | None
    first_block: Slot | None


async def read_retention(rpc: RpcClient, signature: str) -> NodeRetention:
    """Read a status and the retention from one node, in one request.

    Only a node that would retain a transaction can prove that it does not exist.
    Raises RpcError and ChainUnavailable.
    """
    params: list[Any] = [[signature], {"searchTransactionHistory": True}]
    response, first_block = await rpc.batch(
        [("getSignatureStatuses", params), ("getFirstAvailableBlock", [])]
    )
    [status] = statuses(_result(response), 1).statuses
    return NodeRetention(status, _first_block(first_block))


async def final_block(rpc: RpcClient, slot: int) -> frozenset[str] | None:
    """Return the signatures in the finalized block of `slot`, an empty set for a skipped slot.

    Return None when the node does not have the block yet, or no longer retains it.
    """
    method = "getBlock"
    options = {
        "commitment": Commitment.FINALIZED,
        "transactionDetails": "signatures",
        "rewards": False,
        "maxSupportedTransactionVersion": MAX_TRANSACTION_VERSION,
    }
    try:
        answer = await rpc.call(method, [slot, options])
    except RpcError as error:
        return frozenset() if error.code in SKIPPED else None
    if answer is None:
        return None
    return frozenset(read(_BlockResponse, answer, method).signatures)


def _tip_call(commitment: Commitment) -> tuple[str, list[Any]]:
    return "getEpochInfo", [{"commitment": commitment}]


def _tip(answer: Any | RpcError) -> Tip:
    got = read(_EpochResponse, _result(answer), "getEpochInfo")
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
