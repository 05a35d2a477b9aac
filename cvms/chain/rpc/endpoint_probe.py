"""Probe of every endpoint: whether it responds, its newest slot, and whether all agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from cvms.chain.rpc.chain_identity import ChainIdentityCheck
from cvms.chain.rpc.responses import unexpected
from cvms.chain.rpc.transport.endpoint_pool import MAX_SLOT, Endpoint
from cvms.chain.rpc.transport.failover import EndpointReply, FailoverTransport, failure_of
from cvms.chain.types import Commitment, Slot

PROBE_SECONDS = 1.5
"""Short enough that a probe with a silent endpoint still ends before its result is shown."""


class EndpointProbe:
    """Probes the endpoints of one transport, those marked down included."""

    def __init__(self, transport: FailoverTransport) -> None:
        self._transport = transport
        self._identity = ChainIdentityCheck(transport)

    def expect_genesis(self, genesis: str, seen: Mapping[Endpoint, str]) -> None:
        """Use only endpoints of the chain with this genesis; see ChainIdentityCheck."""
        self._identity.expect(genesis, seen)

    async def run_once(self) -> Slot:
        """Return the newest confirmed slot of the trusted endpoints, within `PROBE_SECONDS`.

        Raises ChainUnavailable or RpcError when no endpoint that may be used responds.
        """
        replies: list[EndpointReply] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collect_slots, replies)
            await self._identity.run_once(seconds=PROBE_SECONDS)
        return _newest(replies)

    async def _collect_slots(self, replies: list[EndpointReply]) -> None:
        params = [{"commitment": Commitment.CONFIRMED}]
        replies += await self._transport.query_each(
            self._transport.pool.all(), "getSlot", params, seconds=PROBE_SECONDS
        )


def _newest(replies: Sequence[EndpointReply]) -> Slot:
    usable = [each for each in replies if each.endpoint.refused is None]
    valid = [each for each in usable if type(each.answer) is int and 0 <= each.answer < MAX_SLOT]
    trusted = [each for each in valid if not each.endpoint.disagrees]
    if valid:
        return Slot(max(each.answer for each in trusted or valid))
    if any(each.ok for each in usable):
        raise unexpected("getSlot", "no slot")
    raise failure_of(usable, refused=[each.endpoint for each in replies])
