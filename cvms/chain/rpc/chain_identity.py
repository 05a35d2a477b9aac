"""Check that all endpoints serve one chain: the same genesis, and the same finalized block.

Endpoints that differ cannot all be right: one is on another cluster, on a fork that is never
finalized, or lies. A different genesis never changes, so that endpoint is not used at all. A
different block may be cured by a restart, so that endpoint is used last until it agrees again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import structlog
import trio
from solders.hash import Hash, ParseHashError

from cvms.chain.rpc.transport.endpoint_pool import Endpoint
from cvms.chain.rpc.transport.failover import EndpointReply, FailoverTransport
from cvms.chain.types import Commitment

INTERVAL_SECONDS = 30.0
FINALIZED_LAG_SLOTS = 64  # behind the newest confirmed slot: twice what finalization takes
AHEAD_SLOTS = 50  # an endpoint this far behind the newest may be on an abandoned fork

_log = structlog.get_logger(__name__)
_MINIMAL = {
    "commitment": Commitment.FINALIZED,
    "transactionDetails": "none",
    "rewards": False,
    "maxSupportedTransactionVersion": 0,
}


class ChainIdentityCheck:
    """Compares the endpoints periodically, and marks those that differ in the pool."""

    def __init__(self, transport: FailoverTransport, *, interval: float = INTERVAL_SECONDS) -> None:
        self._transport = transport
        self._interval = interval
        self._genesis: str | None = None
        self._genesis_due = self._blocks_due = -math.inf

    def expect(self, genesis: str, seen: Mapping[Endpoint, str]) -> None:
        """Use only endpoints of the chain with this genesis, given what some have shown."""
        self._genesis = genesis
        for endpoint, shown in seen.items():
            self._judge_genesis(endpoint, shown)

    async def run_once(self, *, seconds: float) -> None:
        """Run the comparisons that are due, within `seconds`. A late response counts as none."""
        configured = self._transport.pool.all()
        if len(configured) < 2 and self._genesis is None:
            return
        endpoints = [each for each in configured if self._is_reachable(each)]
        with trio.move_on_after(seconds):
            await self._compare_genesis(endpoints)
            await self._compare_blocks([each for each in endpoints if each.refused is None])

    def _is_reachable(self, endpoint: Endpoint) -> bool:
        # A refused endpoint is still asked, in case it was reconfigured.
        refused = endpoint.refused is not None and not endpoint.failures
        return refused or self._transport.pool.is_up(endpoint)

    async def _compare_genesis(self, endpoints: Sequence[Endpoint]) -> None:
        if trio.current_time() >= self._genesis_due:
            self._genesis_due = trio.current_time() + self._interval
        else:
            endpoints = [each for each in endpoints if not each.checked]
        hashes: dict[Endpoint, str] = {}
        for each in await self._ask(endpoints, "getGenesisHash", []):
            if is_hash(each.answer):
                hashes[each.endpoint] = each.answer
            # Some providers do not offer the method, which is no reason to avoid them.
            each.endpoint.checked = each.replied
        if self._genesis is None and hashes:
            # Fixed while the process runs: the database belongs to this chain.
            self._genesis = majority(hashes)
        for endpoint, genesis in hashes.items():
            self._judge_genesis(endpoint, genesis)

    def _judge_genesis(self, endpoint: Endpoint, genesis: str) -> None:
        same = genesis == self._genesis
        if same == (endpoint.refused is None):
            return
        if same:
            self._transport.pool.refuse(endpoint, None)
            _log.info("rpc_endpoint_accepted", endpoint=endpoint.host)
            return
        reason = f"{endpoint.host} is on another chain: its genesis is {genesis}"
        self._transport.pool.refuse(endpoint, f"{reason}, not {self._genesis}")
        self._count(endpoint)
        _log.error("rpc_endpoint_refused", endpoint=endpoint.host, reason=endpoint.refused)

    async def _compare_blocks(self, endpoints: Sequence[Endpoint]) -> None:
        known = [each for each in endpoints if each.slot > FINALIZED_LAG_SLOTS]
        if len(known) < 2 or trio.current_time() < self._blocks_due:
            return
        self._blocks_due = trio.current_time() + self._interval
        slot = min(each.slot for each in known) - FINALIZED_LAG_SLOTS
        replies = await self._ask(known, "getBlock", [slot, _MINIMAL])
        # An error (skipped, pruned or not stored) is no evidence.
        hashes = {each.endpoint: text for each in replies if (text := _blockhash(each.answer))}
        if len(hashes) < 2:
            return
        expected = majority(hashes, preferred=self._tie_breaker(hashes))
        for endpoint, blockhash in hashes.items():
            self._judge_block(endpoint, slot=slot, blockhash=blockhash, expected=expected)

    def _tie_breaker(self, endpoints: Iterable[Endpoint]) -> Endpoint:
        """Return the endpoint that decides when there is no majority.

        It is within AHEAD_SLOTS of the newest. Among several, one that was trusted before wins, so
        that two endpoints do not alternate; then the first in the configuration.
        """
        newest = max(each.slot for each in endpoints)
        ahead = [each for each in endpoints if newest - each.slot <= AHEAD_SLOTS]
        return min(ahead, key=lambda each: (each.disagrees, each.order))

    def _judge_block(self, endpoint: Endpoint, *, slot: int, blockhash: str, expected: str) -> None:
        differs = blockhash != expected
        if differs:
            self._count(endpoint)
        if differs and not endpoint.disagrees:
            _log.error(
                "rpc_endpoint_disagreed",
                endpoint=endpoint.host,
                slot=slot,
                blockhash=blockhash,
                others=expected,
            )
        elif endpoint.disagrees and not differs:
            _log.info("rpc_endpoint_agreed", endpoint=endpoint.host, slot=slot)
        endpoint.disagrees = differs

    async def _ask(
        self, endpoints: Sequence[Endpoint], method: str, params: Sequence[Any]
    ) -> list[EndpointReply]:
        return await self._transport.query_each(endpoints, method, params)

    def _count(self, endpoint: Endpoint) -> None:
        if self._transport.metrics is not None:
            self._transport.metrics.rpc.disagreements.labels(endpoint.host).inc()


def majority(hashes: Mapping[Endpoint, str], *, preferred: Endpoint | None = None) -> str:
    """Return the most frequent hash.

    Ties go to the hash of `preferred`, then to the first endpoint in the configuration.
    """
    values = list(hashes.values())
    favourite = hashes.get(preferred) if preferred is not None else None

    def weight(endpoint: Endpoint) -> tuple[int, bool, int]:
        text = hashes[endpoint]
        return values.count(text), text == favourite, -endpoint.order

    return hashes[max(hashes, key=weight)]


def _blockhash(answer: Any) -> str | None:
    text = answer.get("blockhash") if isinstance(answer, dict) else None
    return text if is_hash(text) else None


def is_hash(value: Any) -> TypeGuard[str]:
    """Return whether a node's answer is the hash of a block."""
    try:
        Hash.from_string(value)
    except (TypeError, ParseHashError):
        return False
    return True
