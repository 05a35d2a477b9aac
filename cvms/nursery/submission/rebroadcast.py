"""Rebroadcast of signed transactions: the same bytes again, for as long as they may land.

The state is in memory only. After a restart everything is sent once more, which does no harm:
equal bytes are one transaction.
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
"""Deadline of one `send`. It exceeds the timeout of a single call, so that an unresponsive node is
reported. What was not sent by then is sent first the next time."""
MAX_BACKOFF = 16
"""Maximum interval, in multiples of `resend_seconds`, for bytes that a node refuses. They are not
given up: only the block height proves that they cannot land, and another node may accept them."""

# Replies to valid bytes: sent before, or with a blockhash that the node does not know yet. They
# cause no backoff; statuses and the block height decide.
_HARMLESS = ("AlreadyProcessed", "already been processed", "BlockhashNotFound", "Blockhash not")


@dataclass(slots=True)
class _LastSend:
    """When a transaction was sent last, and its current interval in multiples of the base."""

    sent_at: float = -math.inf
    backoff: int = 1


class Rebroadcaster:
    """Sends transactions and remembers when each was sent last."""

    def __init__(self, rpc: RpcClient, *, resend_seconds: float, metrics: Metrics) -> None:
        self._rpc = rpc
        self._resend_seconds = resend_seconds
        self._metrics = metrics
        self._last_sends: dict[str, _LastSend] = {}

    def retain(self, signatures: Collection[str]) -> None:
        """Forget all other signatures: their submissions have ended."""
        self._last_sends = {
            key: sent for key, sent in self._last_sends.items() if key in signatures
        }

    def due(self, signatures: Collection[str]) -> list[str]:
        """Return the signatures that are due to be sent, the one sent longest ago first."""
        now = trio.current_time()
        last = {key: self._last_sends.get(key) or _LastSend() for key in signatures}
        due = [
            signature
            for signature, sent in last.items()
            if now - sent.sent_at >= self._resend_seconds * sent.backoff
        ]
        return sorted(due, key=lambda signature: last[signature].sent_at)

    async def send(self, wires: Mapping[str, bytes]) -> list[str]:
        """Send transactions, and return the signatures for which a node replied, even to refuse.

        Raises ChainUnavailable if there was no reply at all: some may have been sent all the same.
        """
        answered: list[str] = []
        failures: list[ChainUnavailable] = []
        limit = trio.CapacityLimiter(MAX_CONCURRENT_SENDS)

        async def send_one(signature: str, wire: bytes) -> None:
            async with limit:
                try:
                    await self._send(signature, wire)
                except ChainUnavailable as failure:
                    failures.append(failure)
                else:
                    answered.append(signature)

        with trio.move_on_after(SEND_DEADLINE_SECONDS) as deadline:
            async with trio.open_nursery() as nursery:
                for signature, wire in wires.items():
                    nursery.start_soon(send_one, signature, wire)
        if failures and not answered:
            raise failures[0]
        if failures or deadline.cancelled_caught:
            log.warning("sends_unanswered", answered=len(answered), sent=len(wires))
        return answered

    async def _send(self, signature: str, wire: bytes) -> None:
        last = self._last_sends.setdefault(signature, _LastSend())
        if last.sent_at > -math.inf:
            self._metrics.submissions.resends.inc()
        last.sent_at = trio.current_time()
        try:
            await self._rpc.send_everywhere(wire, skip_preflight=True, max_retries=0)
        except RpcError as error:
            if any(words in f"{error.message} {error.data}" for words in _HARMLESS):
                return
            if last.backoff == 1:
                log.warning("send_refused", signature=signature, reason=str(error))
            last.backoff = min(last.backoff * 2, MAX_BACKOFF)
        else:
            last.backoff = 1
