"""Yield rates: those that the background task stored while they are recent, else read directly."""

from __future__ import annotations

from decimal import Decimal

import trio
from solders.pubkey import Pubkey

from cvms.chain.types import Amount, Programs, Slot
from cvms.chain.yields.rate_cache import RateReading
from cvms.chain.yields.rates import AtSlot, AtTime, ProtocolName, Reason, Refusal, SupplyRate
from cvms.chain.yields.sources import adapter
from cvms.http.framework.dependencies import Dependencies
from cvms.http.vaults.indexed_reads import read_indexed
from cvms.store.vaults import yield_rates
from cvms.store.vaults.yield_rates import StoredRate

MAX_INTERVALS = 2.0
"""A stored reading is too old after this many polling intervals of the task."""


async def newest_reading(deps: Dependencies) -> RateReading | None:
    """Return the newest reading of all sources; None if no node has answered yet."""
    sources = deps.yield_rates.sources
    wanted = [(each.protocol, str(each.address)) for each in sources]
    stored = await read_indexed(deps, lambda conn: yield_rates.newest(conn, wanted))
    oldest = max(stored, key=lambda each: each.age, default=None)
    max_age = MAX_INTERVALS * deps.yield_rates.max_age
    if oldest is None or len(stored) < len(sources) or oldest.age > max_age:
        return await deps.yield_rates.read()
    outcomes = tuple(_outcome(each, deps.programs) for each in stored)
    return RateReading(outcomes, oldest.chain_time, trio.current_time() - max(0.0, oldest.age))


def _outcome(stored: StoredRate, programs: Programs) -> SupplyRate | Refusal:
    protocol, address = ProtocolName(stored.protocol), Pubkey.from_string(stored.address)
    slot = Slot(stored.source_slot)
    if stored.reason is not None:
        return Refusal(protocol, address, Reason(stored.reason), stored.detail or "", slot)
    return SupplyRate(
        protocol=protocol,
        address=address,
        mint=Pubkey.from_string(stored.mint or ""),
        supply_apr=stored.supply_apr or Decimal(0),
        supply_apy=stored.supply_apy or Decimal(0),
        borrow_apr=stored.borrow_apr,
        utilization=stored.utilization,
        supplied=Amount(stored.supplied or 0),
        borrowed=None if stored.borrowed is None else Amount(stored.borrowed),
        convention=adapter(protocol, programs).convention,
        source_slot=slot,
        as_of=(
            AtTime(stored.updated_time or 0)
            if stored.updated_slot is None
            else AtSlot(Slot(stored.updated_slot))
        ),
    )
