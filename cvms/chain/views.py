"""What one node knows at one time: how far its chain is, and which transactions are in it.

That a transaction is nowhere is only proved by a node that has all the blocks it could be in. So
everything that is held together comes in one request, which one endpoint answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cvms.chain import answers
from cvms.chain.answers import Count, InContext, SignatureStatus, read
from cvms.chain.rpc import HIGHEST_TRANSACTION_VERSION, Rpc
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
    """How far a node's chain was before something else was asked."""

    confirmed: Tip
    finalized: Tip


@dataclass(frozen=True, slots=True)
class StatusView:
    """Statuses in the order asked for, None where the node knows nothing, and what it can know.

    `slot` is the newest block the node had run, `finalized` its newest final one, and
    `first_block` the oldest that it still has (None when it does not say).
    """

    statuses: tuple[SignatureStatus | None, ...]
    slot: Slot
    finalized: Tip
    first_block: Slot | None

    def knows(self, tips: Tips) -> bool:
        """Whether the node has all that `tips` tell of; what it misses proves nothing if not."""
        return self.slot >= tips.confirmed.slot and self.finalized.slot >= tips.finalized.slot

    def remembers(self, slot: int) -> bool:
        """Whether it still has the blocks from `slot` on."""
        return self.first_block is not None and self.first_block <= slot


class _EpochAnswer(msgspec.Struct, frozen=True, rename="camel"):
    absolute_slot: Count
    block_height: Count


class _BlockAnswer(msgspec.Struct, frozen=True):
    signatures: list[str]


async def read_tips(rpc: Rpc) -> Tips:
    """How far the chain is, at both levels as the same node sees it."""
    levels = (Commitment.CONFIRMED, Commitment.FINALIZED)
    confirmed, finalized = await rpc.batch([_tip_call(level) for level in levels])
    return Tips(_tip(confirmed), _tip(finalized))


async def read_status_view(rpc: Rpc, signatures: Sequence[str]) -> StatusView:
    """What one node knows of up to 256 signatures, old ones included."""
    method = "getSignatureStatuses"
    finalized, first_block, answer = await rpc.batch(
        [
            _tip_call(Commitment.FINALIZED),
            ("getFirstAvailableBlock", []),
            (method, [list(signatures), {"searchTransactionHistory": True}]),
        ]
    )
    got = read(InContext[list[answers.StatusAnswer | None]], _result(answer), method)
    if len(got.value) != len(signatures):
        raise answers.unexpected(method, f"{len(got.value)} statuses for {len(signatures)}")
    return StatusView(
        statuses=tuple(None if each is None else answers.status(each) for each in got.value),
        slot=Slot(got.context.slot),
        finalized=_tip(finalized),
        first_block=_first_block(first_block),
    )


async def final_block(rpc: Rpc, slot: int) -> frozenset[str] | None:
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
    # Some providers do not offer this method; their statuses are good all the same.
    if isinstance(answer, RpcError):
        return None
    return Slot(read(int, answer, "getFirstAvailableBlock"))


def _result(answer: Any | RpcError) -> Any:
    if isinstance(answer, RpcError):
        raise answer
    return answer
