"""Compute unit limits, also where a node does not say what a simulation consumes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from solders.hash import Hash
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.rpc.responses import LatestBlockhash
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.transactions.compute_budget import compute_unit_limit, simulate_and_limit
from cvms.chain.transactions.priority_fees import PriorityFees
from cvms.chain.transactions.versioned import (
    DEFAULT_UNITS_PER_INSTRUCTION,
    MAX_COMPUTE_UNITS,
    BuiltTransaction,
    build_transaction,
)
from cvms.chain.types import BlockHeight, Programs, Slot
from cvms.errors import RpcError
from cvms.metrics import Metrics
from tests.chain.rpc.scripted_node import Reply, nodes, result
from tests.paths import DOCS

UNKNOWN: tuple[Any, ...] = (None, 0, 150, -1, "40000", 4.5e4, True, {}, "absent")


def deposits(programs: Programs, count: int = 1) -> BuiltTransaction:
    owner = Pubkey.new_unique()
    steps = [
        instructions.deposit(programs, authority=owner, owner=owner, amount=amount)
        for amount in range(1, count + 1)
    ]
    blockhash = LatestBlockhash(Hash.new_unique(), BlockHeight(200), Slot(50))
    return build_transaction(steps[-1], fee_payer=owner, blockhash=blockhash, setup=steps[:-1])


async def limited(
    programs: Programs, built: BuiltTransaction, simulation: Any, *, extra_units: int = 0
) -> BuiltTransaction:
    """Limit a transaction at a node that answers its simulation by this value."""

    async def script(request: Any) -> Reply:
        if request["method"] == "simulateTransaction":
            return result(request, {"context": {"slot": 1000}, "value": simulation})
        return result(request, [])

    async with nodes(script) as [node], open_rpc([node.url]) as rpc:
        fees = PriorityFees(rpc, Metrics())
        return await simulate_and_limit(rpc, programs, built, fees=fees, extra_units=extra_units)


def test_a_limit_leaves_a_tenth_and_never_exceeds_the_clusters() -> None:
    assert compute_unit_limit(100_000, default=1) == 110_150
    assert compute_unit_limit(1_390_000, default=1) == MAX_COMPUTE_UNITS
    assert compute_unit_limit(10**30, default=1) == MAX_COMPUTE_UNITS


@pytest.mark.parametrize("units", UNKNOWN)
async def test_a_limit_is_the_clusters_default_when_a_node_does_not_say_what_is_consumed(
    programs: Programs, units: Any
) -> None:
    simulation = {"err": None, "logs": None}
    if units != "absent":
        simulation["unitsConsumed"] = units
    for count in (1, 3):
        built = await limited(programs, deposits(programs, count), simulation, extra_units=7)
        assert built.compute_unit_limit == count * DEFAULT_UNITS_PER_INSTRUCTION + 7
        assert built.compute_unit_price == 0


def test_every_documented_instruction_fits_into_the_clusters_default() -> None:
    rows = re.findall(
        r"^\| .+? ((?:\| [\d,]+ )+)\|$", (DOCS / "compute_units.md").read_text(), re.M
    )
    units = [int(each.replace(",", "")) for row in rows for each in row.split("|")[1:]]
    assert len(units) > 60
    assert 150_000 < max(units) < DEFAULT_UNITS_PER_INSTRUCTION


@pytest.mark.parametrize("simulation", [{}, {"logs": [], "unitsConsumed": 4000}, None, []])
async def test_a_simulation_that_does_not_say_whether_it_failed_is_no_success(
    programs: Programs, simulation: Any
) -> None:
    unexpected = pytest.RaisesExc(RpcError, match="simulateTransaction answered something unexpec")
    with pytest.RaisesGroup(unexpected, flatten_subgroups=True):
        await limited(programs, deposits(programs), simulation)
