"""Cache of rates, which one caller at a time refreshes from the chain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
import trio

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.chain_clock import chain_time
from cvms.chain.types import Programs
from cvms.chain.yields.rates import Refusal, SupplyRate
from cvms.chain.yields.sources import YieldSource, read_rates
from cvms.errors import ChainUnavailable, DecodeError, RpcError

RETRY_SECONDS = 5.0  # after a failure, so that waiting callers do not each wait for one

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RateReading:
    """Outcomes of the sources, in their order, when the chain's clock was at `chain_time`."""

    outcomes: tuple[SupplyRate | Refusal, ...]
    chain_time: int
    taken_at: float

    @property
    def age(self) -> float:
        """Seconds since the reading."""
        return trio.current_time() - self.taken_at


class RateCache:
    """The rates of `sources`, at most `max_age` seconds old while a node answers."""

    def __init__(
        self, rpc: RpcClient, sources: Sequence[YieldSource], *, programs: Programs, max_age: float
    ) -> None:
        self.sources = tuple(sources)
        self.max_age = max_age
        self._rpc = rpc
        self._programs = programs
        self._lock = trio.Lock()
        self._latest: RateReading | None = None
        self._due = -math.inf

    async def read(self) -> RateReading | None:
        """Return the newest reading, which is older while no node responds; None before the first.

        One caller reads for all that wait. Never raises: failures are logged.
        """
        async with self._lock:
            if trio.current_time() >= self._due:
                await self._refresh()
            return self._latest

    async def _refresh(self) -> None:
        taken_at = trio.current_time()
        try:
            outcomes = await read_rates(self._rpc, self.sources, programs=self._programs)
            now = await chain_time(self._rpc)
        except (ChainUnavailable, RpcError, DecodeError) as error:
            log.warning("yield_rates_unavailable", error=str(error))
            self._due = trio.current_time() + min(RETRY_SECONDS, self.max_age)
        else:
            self._latest = RateReading(tuple(outcomes), now, taken_at)
            self._due = taken_at + self.max_age
