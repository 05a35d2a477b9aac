"""A look at every endpoint at once, marked down or not: is it there, how far, and of one mind."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from cvms.chain.rpc.chain_identity import ChainIdentityCheck
from cvms.chain.rpc.responses import unexpected
from cvms.chain.rpc.transport.endpoint_pool import HIGHEST_SLOT
from cvms.chain.rpc.transport.failover import EndpointReply, FailoverTransport, failure_of
from cvms.chain.types import Commitment, Slot

PROBE_SECONDS = 1.5
"""So that a round with a silent endpoint in it still ends in time to be shown."""


class EndpointProbe:
    """Rounds of probes over one transport's endpoints."""

    def __init__(self, transport: FailoverTransport) -> None:
        self._transport = transport
        self._agreement = ChainIdentityCheck(transport)

    async def run_once(self) -> Slot:
        """The newest confirmed slot of the endpoints to be believed, within `PROBE_SECONDS`.

        Raises ChainUnavailable or RpcError when none of those that may be asked answers.
        """
        asked: list[EndpointReply] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_slots, asked)
            await self._agreement.run_once(seconds=PROBE_SECONDS)
        return _newest(asked)

    async def _ask_slots(self, asked: list[EndpointReply]) -> None:
        everybody = self._transport.pool.all()
        params = [{"commitment": Commitment.CONFIRMED}]
        asked += await self._transport.query_each(
            everybody, "getSlot", params, seconds=PROBE_SECONDS
        )


def _newest(asked: Sequence[EndpointReply]) -> Slot:
    heard = [each for each in asked if each.endpoint.refused is None]
    good = [each for each in heard if type(each.answer) is int and 0 <= each.answer < HIGHEST_SLOT]
    believed = [each for each in good if not each.endpoint.disagrees]
    if good:
        return Slot(max(each.answer for each in believed or good))
    if any(each.ok for each in heard):
        raise unexpected("getSlot", "no slot")
    raise failure_of(heard, refused=[each.endpoint for each in asked])
