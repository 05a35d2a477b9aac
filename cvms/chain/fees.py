"""What a transaction may use and pay: limits from a simulation, prices from recent fees."""

from __future__ import annotations

from collections.abc import Sequence

from solders.message import MessageV0

from cvms.chain.program_errors import refusal
from cvms.chain.rpc import Rpc
from cvms.chain.transactions import (
    MAX_COMPUTE_UNITS,
    BuiltTransaction,
    with_budget,
)
from cvms.chain.types import Lamports, Programs

DEFAULT_PRICE_CAP = 100_000  # micro-lamports a unit: 0.00002 SOL for 200,000 units
LAMPORTS_PER_SIGNATURE = 5_000
_BUDGET_INSTRUCTION_UNITS = 150  # the price instruction is added after the simulation
_MOST_ADDRESSES = 128  # getRecentPrioritizationFees takes no more


async def simulate_and_limit(
    rpc: Rpc, programs: Programs, built: BuiltTransaction, *, price_cap: int = DEFAULT_PRICE_CAP
) -> BuiltTransaction:
    """The same transaction with a limit and a price: what a simulation consumed and a tenth more,
    and what others pay.

    Raises ProgramRefused when the simulation fails: the chain would refuse it too.
    """
    free = with_budget(built, compute_unit_limit=MAX_COMPUTE_UNITS, compute_unit_price=0)
    # A node that is a little behind may not know the block hash yet: that is no refusal.
    outcome = await rpc.simulate(free.unsigned_wire, replace_recent_blockhash=True)
    if outcome.err is not None:
        raise refusal(outcome.err, outcome.logs, programs)
    price = await recent_price(rpc, built.message, cap=price_cap)
    limit = compute_unit_limit(outcome.units_consumed)
    return with_budget(built, compute_unit_limit=limit, compute_unit_price=price)


async def recent_price(rpc: Rpc, message: MessageV0, *, cap: int) -> int:
    """The price (micro-lamports a unit) at which transactions on these accounts land, capped."""
    keys = message.account_keys
    writable = [key for place, key in enumerate(keys) if message.is_maybe_writable(place)]
    return price_among(await rpc.get_recent_prioritization_fees(writable[:_MOST_ADDRESSES]), cap)


def price_among(fees: Sequence[int], cap: int) -> int:
    """The third quartile of recent fees, at most `cap`; 0 when nothing was paid lately."""
    ranked = sorted(fees)
    return min(ranked[len(ranked) * 3 // 4], cap) if ranked else 0


def within_fee(built: BuiltTransaction, most: Lamports) -> BuiltTransaction:
    """The same transaction at a price at which its whole fee is at most `most`.

    What the signatures cost is not ours to lower: there the price is 0.
    """
    left = max(0, most - LAMPORTS_PER_SIGNATURE * len(built.signers))
    price = left * 1_000_000 // built.compute_unit_limit
    if built.compute_unit_price <= price:
        return built
    return with_budget(built, compute_unit_limit=built.compute_unit_limit, compute_unit_price=price)


def compute_unit_limit(consumed: int) -> int:
    """A tenth above what was consumed, within a transaction's ceiling."""
    return min(consumed * 11 // 10 + _BUDGET_INSTRUCTION_UNITS, MAX_COMPUTE_UNITS)
