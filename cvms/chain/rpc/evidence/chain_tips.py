"""Chain tips, and the oldest block that a node keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from cvms.chain.rpc.responses import Count, read
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.rpc.transport.call_state import Call
from cvms.chain.types import BlockHeight, Commitment, Slot
from cvms.errors import RpcError


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest block of a commitment level."""

    slot: Slot
    height: BlockHeight


@dataclass(frozen=True, slots=True)
class Tips:
    """Tips of the chain, read before another query."""

    confirmed: Tip
    finalized: Tip

    @property
    def slot(self) -> Slot:
        """The slot that a node must have executed before its "not found" counts."""
        return max(self.confirmed.slot, self.finalized.slot)


class _EpochResponse(msgspec.Struct, frozen=True, rename="camel"):
    absolute_slot: Count
    block_height: Count


async def read_tips(rpc: RpcClient) -> Tips:
    """Return the tips of the chain. Raises RpcError and ChainUnavailable."""
    confirmed, finalized = await rpc.batch(
        [
            Call("getEpochInfo", [{"commitment": level}], _tip)
            for level in (Commitment.CONFIRMED, Commitment.FINALIZED)
        ]
    )
    if isinstance(confirmed, RpcError) or isinstance(finalized, RpcError):
        raise confirmed if isinstance(confirmed, RpcError) else finalized
    return Tips(confirmed, finalized)


async def first_block(rpc: RpcClient) -> Slot | None:
    """Return the oldest block that a node keeps, None if no node says. Raises ChainUnavailable."""
    method = "getFirstAvailableBlock"
    try:
        return Slot(await rpc.call(method, [], parse=lambda answer: read(Count, answer, method)))
    except RpcError:
        return None  # some providers do not offer the method


def _tip(answer: Any) -> Tip:
    got = read(_EpochResponse, answer, "getEpochInfo")
    return Tip(Slot(got.absolute_slot), BlockHeight(got.block_height))
