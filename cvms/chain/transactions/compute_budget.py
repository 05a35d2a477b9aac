"""Compute budgets: the limit from a simulation, the price from recent fees."""

from __future__ import annotations

from collections.abc import Sequence

from solders.message import MessageV0

from cvms.chain.program.program_errors import to_program_error
from cvms.chain.rpc.call_params import FEE_ADDRESSES_PER_CALL
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.sponsorship_policy import FeeCaps, max_price
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
    limit = min(compute_unit_limit(outcome.units_consumed) + extra_units, MAX_COMPUTE_UNITS)
    cap = max_price(caps or FeeCaps(), signatures=len(built.signers), units=limit)
    price = await recent_price(rpc, built.message, cap=cap)
    return with_budget(built, compute_unit_limit=limit, compute_unit_price=price)


async def recent_price(rpc: RpcClient, message: MessageV0, *, cap: int) -> int:
    """Return a price (micro-lamports a unit) at which transactions on these accounts land."""
    keys = message.account_keys
    writable = [key for index, key in enumerate(keys) if message.is_maybe_writable(index)]
    return price_among(
        await rpc.get_recent_prioritization_fees(writable[:FEE_ADDRESSES_PER_CALL]), cap
    )


def price_among(fees: Sequence[int], cap: int) -> int:
    """Return the third quartile of recent fees, at most `cap`; 0 without recent fees."""
    ranked = sorted(fees)
    return min(ranked[len(ranked) * 3 // 4], cap) if ranked else 0


def compute_unit_limit(consumed: int) -> int:
    """Return a limit a tenth above `consumed`, within the maximum of a transaction."""
    return min(consumed * 11 // 10 + _BUDGET_INSTRUCTION_UNITS, MAX_COMPUTE_UNITS)
