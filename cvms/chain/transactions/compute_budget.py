"""Compute budgets: the limit from a simulation, the price from recent fees."""

from __future__ import annotations

from cvms.chain.program.program_errors import to_program_error
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.priority_fees import PriorityFees
from cvms.chain.transactions.sponsorship_policy import FeeCaps, max_price
from cvms.chain.transactions.versioned import MAX_COMPUTE_UNITS, BuiltTransaction, with_budget
from cvms.chain.types import Programs

_BUDGET_INSTRUCTION_UNITS = 150  # of each, and the price is added after the simulation


async def simulate_and_limit(
    rpc: RpcClient,
    programs: Programs,
    built: BuiltTransaction,
    *,
    fees: PriorityFees,
    caps: FeeCaps | None = None,
    extra_units: int = 0,
) -> BuiltTransaction:
    """Return the transaction with a compute unit limit and price.

    The limit is a tenth above what a simulation consumes, plus `extra_units`. The price is what
    others currently pay, within `caps`. Raises ProgramRefused when the simulation fails, since the
    chain would refuse the transaction too.
    """
    unlimited = with_budget(built, compute_unit_limit=MAX_COMPUTE_UNITS, compute_unit_price=0)
    # A node that is slightly behind may not know the blockhash yet, which is no reason to fail.
    outcome = await rpc.simulate(unlimited.unsigned_wire, replace_recent_blockhash=True)
    if outcome.err is not None:
        raise to_program_error(outcome.err, outcome.logs, programs)
    limit = compute_unit_limit(outcome.units_consumed, default=built.compute_unit_limit)
    limit = min(limit + extra_units, MAX_COMPUTE_UNITS)
    cap = max_price(caps or FeeCaps(), signatures=len(built.signers), units=limit)
    price = await fees.price(built.message, cap=cap)
    return with_budget(built, compute_unit_limit=limit, compute_unit_price=price)


def compute_unit_limit(consumed: int | None, *, default: int) -> int:
    """Return a limit a tenth above `consumed`, within the maximum of a transaction.

    Some nodes do not say what a simulation consumed, or say 0. The limit is then `default`: the
    200,000 units an instruction that every cluster allows, which docs/compute_units.md is below.
    """
    if consumed is None or consumed <= _BUDGET_INSTRUCTION_UNITS:
        return default
    return min(consumed * 11 // 10 + _BUDGET_INSTRUCTION_UNITS, MAX_COMPUTE_UNITS)
