"""Priority fees: what others currently pay for a compute unit of the same accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
import trio
from solders.message import MessageV0

from cvms.chain.rpc.call_params import FEE_ADDRESSES_PER_CALL
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.errors import ChainUnavailable, RpcError
from cvms.metrics import Metrics

ANSWER_SECONDS = 2.0
"""A transaction is not held up longer for a price."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class PriorityFees:
    """Reads recent fees. Many providers refuse the call; the price is 0 then, as in a calm market.

    The log has the beginning and the end of a time without an answer, the metric its state.
    """

    rpc: RpcClient
    metrics: Metrics
    _known: bool = field(default=True, init=False)

    async def price(self, message: MessageV0, *, cap: int) -> int:
        """Return a price (micro-lamports a unit) at which transactions on these accounts land."""
        keys = message.account_keys
        writable = [key for index, key in enumerate(keys) if message.is_maybe_writable(index)]
        reason = f"no answer within {ANSWER_SECONDS:g} s"
        try:
            with trio.move_on_after(ANSWER_SECONDS):
                addresses = writable[:FEE_ADDRESSES_PER_CALL]
                fees = await self.rpc.get_recent_prioritization_fees(addresses)
                self._set_known()
                return price_among(fees, cap)
        except (ChainUnavailable, RpcError) as error:
            reason = str(error)
        self._set_unknown(reason)
        return 0

    def _set_known(self) -> None:
        if not self._known:
            log.info("priority_fees_known")
        self._known = True
        self.metrics.rpc.priority_fees_known.set(1)

    def _set_unknown(self, reason: str) -> None:
        if self._known:
            log.warning("priority_fees_unknown", reason=reason, price=0)
        self._known = False
        self.metrics.rpc.priority_fees_known.set(0)


def price_among(fees: Sequence[int], cap: int) -> int:
    """Return the third quartile of recent fees, at most `cap`; 0 without recent fees."""
    ranked = sorted(fees)
    return min(ranked[len(ranked) * 3 // 4], cap) if ranked else 0
