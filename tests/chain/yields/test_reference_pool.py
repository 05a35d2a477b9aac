"""The rate of a pool of the reference yield program, also from an account that it wrote."""

from __future__ import annotations

from decimal import Decimal

import pytest
from solders.keypair import Keypair

from cvms.chain import borsh
from cvms.chain.program.instructions import yield_pool as instructions
from cvms.chain.program.yield_pool_accounts import (
    POOL_DISCRIMINATOR,
    YieldPoolAccount,
    pool_address,
)
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.yields.rates import AtTime, ProtocolName, Reason, SupplyRate
from cvms.chain.yields.sources import YieldSource, read_rates
from cvms.dev.chain_setup import land
from tests.chain.yields import accounts
from tests.chain.yields.accounts import MINT
from tests.harness.localnet import Localnet

P = ProtocolName.YIELD_POOL


def pool(*, rate_bps: int = 500, last_accrued_at: int = 1_790_000_000) -> bytes:
    key = Keypair().pubkey()
    return POOL_DISCRIMINATOR + borsh.encode(
        YieldPoolAccount(key, MINT, key, key, rate_bps, 7_000_000, 123, last_accrued_at, 255)
    )


def test_interest_is_simple_so_a_year_pays_the_rate() -> None:
    rate = accounts.rate(P, pool())
    assert (rate.supply_apr, rate.supply_apy) == (Decimal("0.05"), Decimal("0.05"))
    assert rate.convention.word == "simple"
    assert (rate.mint, rate.supplied) == (MINT, 7_000_000)
    assert rate.as_of == AtTime(1_790_000_000)


def test_nobody_borrows_from_a_pool() -> None:
    rate = accounts.rate(P, pool())
    assert (rate.borrow_apr, rate.utilization, rate.borrowed) == (None, None, None)


@pytest.mark.parametrize("rate_bps", [0, 1, 10_000])
def test_every_rate_that_an_admin_can_set_is_read(rate_bps: int) -> None:
    assert accounts.rate(P, pool(rate_bps=rate_bps)).supply_apy == Decimal(rate_bps) / 10_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pool(rate_bps=10_001), Reason.MALFORMED),
        (pool(last_accrued_at=-1), Reason.MALFORMED),
        (pool()[:-1], Reason.WRONG_LENGTH),
        (pool() + b"\0", Reason.WRONG_LENGTH),
        (b"position" + pool()[8:], Reason.WRONG_KIND),
    ],
)
def test_what_the_program_cannot_write_gives_no_rate(data: bytes, reason: Reason) -> None:
    assert accounts.refused_for(P, data) is reason


async def test_the_programs_own_pool_pays_what_its_admin_set_last(localnet: Localnet) -> None:
    programs, admin = localnet.programs, Keypair()
    pool = pool_address(programs, mint=programs.mint, admin=admin.pubkey())
    source = YieldSource(P, pool)
    opened = instructions.initialize_pool(
        programs, admin=admin.pubkey(), mint=programs.mint, rate_bps=500
    )
    changed = instructions.set_rate(programs, admin=admin.pubkey(), pool=pool, rate_bps=725)
    async with open_rpc([localnet.rpc_url]) as rpc:
        await rpc.call("surfnet_setAccount", [str(admin.pubkey()), {"lamports": 10**10}])
        await land(rpc, admin, [opened])
        [before] = await read_rates(rpc, [source], programs=programs)
        await land(rpc, admin, [changed])
        [after] = await read_rates(rpc, [source], programs=programs)

    assert isinstance(before, SupplyRate)
    assert isinstance(after, SupplyRate)
    assert (before.supply_apy, after.supply_apy) == (Decimal("0.05"), Decimal("0.0725"))
    assert after.source_slot > before.source_slot
    assert after.mint == programs.mint
    assert after.supplied == 0
