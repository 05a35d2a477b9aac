"""Whether the endpoints tell of the same chain: one genesis, and one block in a finalized slot.

Two that differ cannot both be right: one is of another cluster, on a fork that nobody finalizes, or
lies. Another genesis is for good, so that endpoint is never asked. Another block may be made good
by a restart: that endpoint is asked last until it agrees again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import structlog
import trio
from solders.hash import Hash, ParseHashError

from cvms.chain.rpc.transport.endpoint_pool import Endpoint
from cvms.chain.rpc.transport.failover import EndpointReply, FailoverTransport
from cvms.chain.types import Commitment
from cvms.errors import ChainUnavailable

EVERY_SECONDS = 30.0
SURELY_FINALIZED = 64  # slots behind the newest confirmed one: twice what it takes
AHEAD_SLOTS = 50  # by so much the chain has left a fork behind

_log = structlog.get_logger(__name__)
_MINIMAL = {
    "commitment": Commitment.FINALIZED,
    "transactionDetails": "none",
    "rewards": False,
    "maxSupportedTransactionVersion": 0,
}


class ChainIdentityCheck:
    """Compares the endpoints now and then, and tells the pool which not to believe."""

    def __init__(self, transport: FailoverTransport, *, every: float = EVERY_SECONDS) -> None:
        self._transport = transport
        self._every = every
        self._genesis: str | None = None
        self._genesis_due = self._blocks_due = -math.inf

    async def run_once(self, *, seconds: float) -> None:
        """Compare what is due, within `seconds`; what is not answered in time is no evidence."""
        everybody = self._transport.pool.all()
        if len(everybody) < 2:
            return
        there = [each for each in everybody if self._is_there(each)]
        with trio.move_on_after(seconds):
            await self._compare_genesis(there)
            await self._compare_blocks([each for each in there if each.refused is None])

    def _is_there(self, endpoint: Endpoint) -> bool:
        # One that is refused is still asked, in case that was put right.
        refused = endpoint.refused is not None and not endpoint.failures
        return refused or self._transport.pool.is_up(endpoint)

    async def _compare_genesis(self, endpoints: Sequence[Endpoint]) -> None:
        if trio.current_time() >= self._genesis_due:
            self._genesis_due = trio.current_time() + self._every
        else:
            endpoints = [each for each in endpoints if not each.checked]
        told: dict[Endpoint, str] = {}
        for each in await self._ask(endpoints, "getGenesisHash", []):
            if _is_hash(each.answer):
                told[each.endpoint] = each.answer
            # A provider that does not say is no worse for it.
            each.endpoint.checked = not isinstance(each.answer, ChainUnavailable)
        if self._genesis is None and told:
            # For good: what the books were begun with is not exchanged under them.
            self._genesis = _majority(told)
        for endpoint, genesis in told.items():
            self._judge_genesis(endpoint, genesis)

    def _judge_genesis(self, endpoint: Endpoint, genesis: str) -> None:
        same = genesis == self._genesis
        if same == (endpoint.refused is None):
            return
        if same:
            self._transport.pool.refuse(endpoint, None)
            _log.info("rpc_endpoint_is_of_the_right_chain_again", endpoint=endpoint.host)
            return
        reason = f"{endpoint.host} is of another chain: its genesis is {genesis}"
        self._transport.pool.refuse(endpoint, f"{reason}, not {self._genesis}")
        self._count(endpoint)
        _log.error("rpc_endpoint_refused", endpoint=endpoint.host, reason=endpoint.refused)

    async def _compare_blocks(self, endpoints: Sequence[Endpoint]) -> None:
        there = [each for each in endpoints if each.slot > SURELY_FINALIZED]
        if len(there) < 2 or trio.current_time() < self._blocks_due:
            return
        self._blocks_due = trio.current_time() + self._every
        slot = min(each.slot for each in there) - SURELY_FINALIZED
        heard = await self._ask(there, "getBlock", [slot, _MINIMAL])
        # Skipped, pruned, not kept: an error is no evidence.
        hashes = {each.endpoint: _blockhash(each.answer) for each in heard}
        told = {endpoint: each for endpoint, each in hashes.items() if each is not None}
        if len(told) < 2:
            return
        right = _majority(told, preferred=self._leader(told))
        for endpoint, blockhash in told.items():
            self._judge_block(endpoint, slot=slot, blockhash=blockhash, right=right)

    def _leader(self, endpoints: dict[Endpoint, str]) -> Endpoint:
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
                blockhash=blockhash,
                others=right,
            )
        elif endpoint.disagrees and not differs:
            _log.info("rpc_endpoints_agree_again", endpoint=endpoint.host, slot=slot)
        endpoint.disagrees = differs

    async def _ask(
        self, endpoints: Sequence[Endpoint], method: str, params: Sequence[Any]
    ) -> list[EndpointReply]:
        return await self._transport.query_each(endpoints, method, params)

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
    return found if _is_hash(found) else None


def _is_hash(value: Any) -> TypeGuard[str]:
    try:
        Hash.from_string(value)
    except (TypeError, ParseHashError):
        return False
    return True
