"""What a transaction may use and pay: limits from a simulation, prices from recent fees."""

from __future__ import annotations

from collections.abc import Sequence

from solders.message import MessageV0

from cvms.chain.program.program_errors import to_program_error
from cvms.chain.rpc.limits import FEE_ADDRESSES_PER_CALL
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.sponsorship_policy import FeeCaps, highest_price
from cvms.chain.transactions.versioned import MAX_COMPUTE_UNITS, BuiltTransaction, with_budget
from cvms.chain.types import Programs

_BUDGET_INSTRUCTION_UNITS = 150  # the price instruction is added after the simulation


async def simulate_and_limit(
    rpc: RpcClient,
    programs: Programs,
    built: BuiltTransaction,
    *,
    caps: FeeCaps | None = None,
    extra_units: int = 0,
) -> BuiltTransaction:
    """The same transaction with a limit and a price: what a simulation consumed and a tenth more
    (and `extra_units`), and what others pay at this moment, as far as the caps allow.

    Raises ProgramRefused when the simulation fails: the chain would refuse it too.
    """
    free = with_budget(built, compute_unit_limit=MAX_COMPUTE_UNITS, compute_unit_price=0)
    # A node that is a little behind may not know the block hash yet: that is no refusal.
    outcome = await rpc.simulate(free.unsigned_wire, replace_recent_blockhash=True)
    if outcome.err is not None:
        raise to_program_error(outcome.err, outcome.logs, programs)
    limit = min(compute_unit_limit(outcome.units_consumed) + extra_units, MAX_COMPUTE_UNITS)
    most = highest_price(caps or FeeCaps(), signatures=len(built.signers), units=limit)
    price = await recent_price(rpc, built.message, cap=most)
    return with_budget(built, compute_unit_limit=limit, compute_unit_price=price)


async def recent_price(rpc: RpcClient, message: MessageV0, *, cap: int) -> int:
    """The price (micro-lamports a unit) at which transactions on these accounts land, capped."""
    keys = message.account_keys
    writable = [key for place, key in enumerate(keys) if message.is_maybe_writable(place)]
    return price_among(
        await rpc.get_recent_prioritization_fees(writable[:FEE_ADDRESSES_PER_CALL]), cap
    )


def price_among(fees: Sequence[int], cap: int) -> int:
    """The third quartile of recent fees, at most `cap`; 0 when nothing was paid lately."""
    ranked = sorted(fees)
    return min(ranked[len(ranked) * 3 // 4], cap) if ranked else 0


def compute_unit_limit(consumed: int) -> int:
    """A tenth above what was consumed, within a transaction's ceiling."""
    return min(consumed * 11 // 10 + _BUDGET_INSTRUCTION_UNITS, MAX_COMPUTE_UNITS)
