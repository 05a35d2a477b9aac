"""Whether the endpoints tell of the same chain: one genesis, and one block in a finalized slot.

Two that differ cannot both be right: one is of another cluster, on a fork that nobody finalizes, or
lies. Another genesis is for good, so that endpoint is never asked. Another block may be made good
by a restart: that endpoint is asked last until it agrees again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import structlog
import trio

from cvms.chain.endpoints import Endpoint
from cvms.chain.transport import Heard, Transport
from cvms.chain.types import Commitment

EVERY_SECONDS = 30.0
LOOK_BACK_SLOTS = 32  # among so many there is a block, however many leaders were away
AHEAD_SLOTS = 50  # by so much the chain has left a fork behind

_log = structlog.get_logger(__name__)
_FINALIZED = {"commitment": Commitment.FINALIZED}
_MINIMAL = {
    "commitment": Commitment.FINALIZED,
    "transactionDetails": "none",
    "rewards": False,
    "maxSupportedTransactionVersion": 0,
}


class Agreement:
    """Compares the endpoints now and then, and tells the pool which not to believe."""

    def __init__(self, transport: Transport, *, every: float = EVERY_SECONDS) -> None:
        self._transport = transport
        self._every = every
        self._genesis: str | None = None
        self._known: dict[Endpoint, str] = {}
        self._next = 0.0

    async def look(self, *, seconds: float) -> None:
        """Compare what is due, within `seconds`; what is not answered in time is no evidence."""
        everybody = self._transport.pool.all()
        if len(everybody) < 2:
            return
        due = trio.current_time() >= self._next
        with trio.move_on_after(seconds):
            if due:
                self._known = {}
            await self._compare_genesis([each for each in everybody if each not in self._known])
            if due:
                await self._compare_blocks([each for each in everybody if each.refused is None])
                self._next = trio.current_time() + self._every

    async def _compare_genesis(self, endpoints: Sequence[Endpoint]) -> None:
        if not endpoints:
            return
        heard = await self._ask(endpoints, "getGenesisHash", [])
        self._known |= {each.endpoint: each.answer for each in heard if _is_text(each.answer)}
        if self._genesis is None and self._known:
            # For good: what the books were begun with is not exchanged under them.
            self._genesis = _majority(self._known)
        for endpoint, genesis in self._known.items():
            self._judge_genesis(endpoint, genesis)

    def _judge_genesis(self, endpoint: Endpoint, genesis: str) -> None:
        same = genesis == self._genesis
        if same == (endpoint.refused is None):
            return
        if same:
            self._transport.pool.refuse(endpoint, None)
            _log.info("rpc_endpoint_is_of_the_right_chain_again", endpoint=endpoint.host)
            return
        reason = f"{endpoint.host} is of another chain: its genesis is {genesis[:64]}"
        self._transport.pool.refuse(endpoint, f"{reason}, not {self._genesis}")
        self._count(endpoint)
        _log.error("rpc_endpoint_refused", endpoint=endpoint.host, reason=endpoint.refused)

    async def _compare_blocks(self, endpoints: Sequence[Endpoint]) -> None:
        slot = await self._common_slot(endpoints)
        if slot is None:
            return
        heard = await self._ask(endpoints, "getBlock", [slot, _MINIMAL])
        # Skipped, pruned, not kept: an error is no evidence.
        hashes = {each.endpoint: _blockhash(each.answer) for each in heard}
        told = {endpoint: each for endpoint, each in hashes.items() if each is not None}
        if len(told) < 2:
            return
        right = _majority(told, preferred=self._leaders(told))
        for endpoint, blockhash in told.items():
            self._judge_block(endpoint, slot=slot, blockhash=blockhash, right=right)

    async def _common_slot(self, endpoints: Sequence[Endpoint]) -> int | None:
        """The newest slot that holds a block and is finalized for all who answer."""
        slots = [each.answer for each in await self._ask(endpoints, "getSlot", [_FINALIZED])]
        known = [slot for slot in slots if type(slot) is int and slot > 0]
        if len(known) < 2:
            return None
        last = min(known)
        span = [max(0, last - LOOK_BACK_SLOTS), last, _FINALIZED]
        for each in await self._ask(endpoints, "getBlocks", span):
            blocks = each.answer if isinstance(each.answer, list) else []
            if blocks and type(blocks[-1]) is int:
                return blocks[-1]
        return last

    def _leaders(self, endpoints: dict[Endpoint, str]) -> Endpoint:
        """Who is right when as many say the one as the other.

        Who is ahead by much; else who was believed before, lest two take turns; else the first.
        """
        first = max(each.slot for each in endpoints)
        ahead = [each for each in endpoints if first - each.slot <= AHEAD_SLOTS]
        return min(ahead, key=lambda each: (each.disagrees, each.order))

    def _judge_block(self, endpoint: Endpoint, *, slot: int, blockhash: str, right: str) -> None:
        differs = blockhash != right
        if differs:
            self._count(endpoint)
        if differs and not endpoint.disagrees:
            _log.error(
                "rpc_endpoints_disagree",
                endpoint=endpoint.host,
                slot=slot,
                blockhash=blockhash[:64],
                others=right[:64],
            )
        elif endpoint.disagrees and not differs:
            _log.info("rpc_endpoints_agree_again", endpoint=endpoint.host, slot=slot)
        endpoint.disagrees = differs

    async def _ask(
        self, endpoints: Sequence[Endpoint], method: str, params: Sequence[Any]
    ) -> list[Heard]:
        return await self._transport.ask_each(endpoints, method, params)

    def _count(self, endpoint: Endpoint) -> None:
        if self._transport.metrics is not None:
            self._transport.metrics.rpc_disagreements.labels(endpoint.host).inc()


def _majority(told: dict[Endpoint, str], *, preferred: Endpoint | None = None) -> str:
    """What most say; among as many, what `preferred` says, else the first in the configuration."""
    said = list(told.values())
    favourite = told.get(preferred) if preferred is not None else None

    def weight(endpoint: Endpoint) -> tuple[int, bool, int]:
        text = told[endpoint]
        return said.count(text), text == favourite, -endpoint.order

    return told[max(told, key=weight)]


def _blockhash(answer: Any) -> str | None:
    found = answer.get("blockhash") if isinstance(answer, dict) else None
    return found if _is_text(found) else None


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= 64
