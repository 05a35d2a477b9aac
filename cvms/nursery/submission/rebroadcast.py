"""Send signed bytes, and the same bytes again while they may land.

Nothing here is kept: after a restart everything is sent once more, which is the same transaction.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import structlog
import trio

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.errors import ChainUnavailable, RpcError
from cvms.metrics import Metrics

log = structlog.get_logger(__name__)

MAX_CONCURRENT_SENDS = 16
SEND_DEADLINE_SECONDS = 8.0
"""For all sends of a round; longer than one of them may take, so that a node that does not answer
is found out. What is not sent by then is the first to be sent in the next round."""
MAX_BACKOFF = 16
"""In resends: how rarely bytes are sent that a node refuses. Only the height says that they are
dead, and another node may think differently."""

# What a node says to bytes that are fine: sent before, or of a block hash that it does not know
# yet. Nothing else is done about them; the statuses and the block height decide.
_HARMLESS = ("AlreadyProcessed", "already been processed", "BlockhashNotFound", "Blockhash not")


@dataclass(slots=True)
class _LastSend:
    """When it was sent last, and after how many resends' time it is to be sent again."""

    sent_at: float = -math.inf
    backoff: int = 1


class Rebroadcaster:
    """Remembers what was sent when."""

    def __init__(self, rpc: RpcClient, *, resend_seconds: float, metrics: Metrics) -> None:
        self._rpc = rpc
        self._resend_seconds = resend_seconds
        self._metrics = metrics
        self._last_sends: dict[str, _LastSend] = {}

    def retain(self, signatures: Collection[str]) -> None:
        """Forget all others, which are over."""
        self._last_sends = {key: at for key, at in self._last_sends.items() if key in signatures}

    def due(self, signatures: Collection[str]) -> list[str]:
        """Those whose time has come, what waits longest first."""
        now = trio.current_time()
        attempts = {each: self._last_sends.get(each) or _LastSend() for each in signatures}
        due = [
            (each.sent_at, signature)
            for signature, each in attempts.items()
            if now - each.sent_at >= self._resend_seconds * each.backoff
        ]
        return [signature for _, signature in sorted(due, key=lambda pair: pair[0])]

    async def send(self, wires: Mapping[str, bytes]) -> list[str]:
        """Send them; returns those that a node has answered for, whatever it said.

        Raises ChainUnavailable when none was answered for: whether any was sent is not known then.
        """
        answered: list[str] = []
        failures: list[ChainUnavailable] = []
        limit = trio.CapacityLimiter(MAX_CONCURRENT_SENDS)

        async def one(signature: str, wire: bytes) -> None:
            async with limit:
                try:
                    await self._send(signature, wire)
                except ChainUnavailable as failure:
                    failures.append(failure)
                else:
                    answered.append(signature)

        with trio.move_on_after(SEND_DEADLINE_SECONDS) as time:
            async with trio.open_nursery() as nursery:
                for signature, wire in wires.items():
                    nursery.start_soon(one, signature, wire)
        if failures and not answered:
            raise failures[0]
        if failures or time.cancelled_caught:
            log.warning("sends_unanswered", answered=len(answered), asked=len(wires))
        return answered

    async def _send(self, signature: str, wire: bytes) -> None:
        attempts = self._last_sends.setdefault(signature, _LastSend())
        if attempts.sent_at > -math.inf:
            self._metrics.resends.inc()
        attempts.sent_at = trio.current_time()
        try:
            await self._rpc.send_everywhere(wire, skip_preflight=True, max_retries=0)
        except RpcError as error:
            if any(words in f"{error.message} {error.data}" for words in _HARMLESS):
                return
            if attempts.backoff == 1:
                log.warning("send_refused", signature=signature, reason=str(error))
            attempts.backoff = min(attempts.backoff * 2, MAX_BACKOFF)
        else:
            attempts.backoff = 1
