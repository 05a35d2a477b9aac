"""Periodic reading of yield rates, so that requests need not ask the chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.chain_clock import chain_time
from cvms.chain.types import Programs
from cvms.chain.yields.rates import AtSlot, Refusal, SupplyRate
from cvms.chain.yields.sources import YieldSource, read_rates
from cvms.store.postgres.database import Database
from cvms.store.vaults import yield_rates
from cvms.store.vaults.yield_rates import StoredRate


@dataclass(slots=True, kw_only=True, eq=False)
class YieldRatePoller:
    """Stores the rate of every source."""

    database: Database
    rpc: RpcClient
    programs: Programs
    sources: Sequence[YieldSource]

    async def run_once(self) -> None:
        """Read and store every rate. A source without one is stored with the reason."""
        if not self.sources:
            return
        outcomes = await read_rates(self.rpc, self.sources, programs=self.programs)
        now = await chain_time(self.rpc)
        async with self.database.transaction() as conn:
            await yield_rates.put(conn, [_stored(outcome, now) for outcome in outcomes])


def _stored(outcome: SupplyRate | Refusal, chain_time: int) -> StoredRate:
    plain = StoredRate(
        protocol=outcome.protocol,
        address=str(outcome.address),
        source_slot=outcome.source_slot,
        chain_time=chain_time,
    )
    if isinstance(outcome, Refusal):
        return replace(plain, reason=outcome.reason, detail=outcome.detail)
    as_of = outcome.as_of
    return replace(
        plain,
        mint=str(outcome.mint),
        supply_apr=outcome.supply_apr,
        supply_apy=outcome.supply_apy,
        borrow_apr=outcome.borrow_apr,
        utilization=outcome.utilization,
        supplied=outcome.supplied,
        borrowed=outcome.borrowed,
        updated_slot=as_of.slot if isinstance(as_of, AtSlot) else None,
        updated_time=None if isinstance(as_of, AtSlot) else as_of.unix,
    )
