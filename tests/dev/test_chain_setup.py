"""The setup of the local chain before `cvms dev` starts the service."""

from __future__ import annotations

from cvms.chain.program import instructions
from cvms.chain.program.accounts import read_token_account, read_vault_authority
from cvms.chain.program.addresses import vault_authority_address
from cvms.chain.program.instructions import yield_pool
from cvms.chain.program.yield_pool_accounts import (
    YieldPoolAccount,
    pool_address,
    read_pool,
    reserve_address,
)
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.types import Commitment
from cvms.dev.chain_setup import POOL_RATE_BPS, POOL_RESERVE, land, prepare_chain
from tests.harness.localnet import Localnet


async def pool_and_reserve(localnet: Localnet) -> tuple[YieldPoolAccount | None, int]:
    programs, admin = localnet.programs, localnet.operator.pubkey()
    pool = pool_address(programs, mint=programs.mint, admin=admin)
    async with open_rpc([localnet.rpc_url]) as rpc:
        found = await rpc.get_accounts(
            [pool, reserve_address(programs, pool)], commitment=Commitment.CONFIRMED
        )
    reserve = read_token_account(found.accounts[1])
    return read_pool(found.accounts[0], programs), reserve.amount if reserve else 0


async def test_the_yield_pool_is_whitelisted_and_has_a_reserve(localnet: Localnet) -> None:
    programs = localnet.programs
    async with open_rpc([localnet.rpc_url]) as rpc:
        address = vault_authority_address(programs)
        found = await rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    authority = read_vault_authority(found.accounts[0], programs)
    assert authority is not None
    assert authority.governance == localnet.operator.pubkey()
    assert authority.authorized_programs == (programs.position_manager,)
    assert authority.yield_whitelist == (programs.yield_pool,)
    pool, reserve = await pool_and_reserve(localnet)
    assert pool is not None
    assert (pool.admin, pool.mint) == (localnet.operator.pubkey(), programs.mint)
    assert (pool.rate_bps, reserve) == (POOL_RATE_BPS, POOL_RESERVE)


async def test_a_repeated_setup_sends_nothing(localnet: Localnet) -> None:
    chain = localnet.running.chain
    before, sent = await pool_and_reserve(localnet), chain.transaction_count
    async with open_rpc([localnet.rpc_url]) as rpc:
        for _ in range(2):
            await prepare_chain(rpc, localnet.programs, localnet.operator)
    assert chain.transaction_count == sent
    assert await pool_and_reserve(localnet) == before


async def test_setup_restores_only_what_is_missing(localnet: Localnet) -> None:
    programs, admin = localnet.programs, localnet.operator.pubkey()
    pool = pool_address(programs, mint=programs.mint, admin=admin)
    async with open_rpc([localnet.rpc_url]) as rpc:
        remove = instructions.remove_yield_program(
            programs, governance=admin, program=programs.yield_pool
        )
        rate = yield_pool.set_rate(programs, admin=admin, pool=pool, rate_bps=77)
        await land(rpc, localnet.operator, [remove, rate])
        await prepare_chain(rpc, programs, localnet.operator)
    state, reserve = await pool_and_reserve(localnet)
    assert state is not None
    assert (state.rate_bps, reserve) == (77, POOL_RESERVE)
    await test_a_repeated_setup_sends_nothing(localnet)
