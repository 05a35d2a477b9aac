"""Local chains that lack something, and what mends them."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms import localnet
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.config.loader import load_programs
from cvms.dev import chain_setup
from cvms.dev.chain_setup import bundled_programs
from cvms.localnet import Deployment
from cvms.localnet.ledger import program_deployment
from tests.block_producer import BlockProducer
from tests.harness.localnet import FAST, Localnet

RENT = 10**9


async def start_chain(nursery: trio.Nursery, *, programs: bool) -> Localnet:
    """Start a chain without an authority and a mint, and without programs unless asked."""
    ids, operator = load_programs({}), Keypair()
    deployed: tuple[Deployment, ...] = ()
    if programs:
        deployed = bundled_programs(ids, upgrade_authority=operator.pubkey())
    chain: localnet.Running = await nursery.start(
        partial(localnet.serve, port=0, ledger=None, programs=deployed, timing=FAST)
    )
    nursery.start_soon(BlockProducer(chain.chain).run)
    return Localnet(chain.rpc_url, chain.ws_url, operator, ids, chain)


@asynccontextmanager
async def asking(chain: Localnet) -> AsyncIterator[RpcClient]:
    async with open_rpc([chain.rpc_url]) as rpc:
        yield rpc


async def set_account(chain: Localnet, address: Pubkey, **fields: Any) -> None:
    """Overwrite fields of an account, which gets lamports if it has none."""
    async with asking(chain) as rpc:
        await rpc.call("surfnet_setAccount", [str(address), {"lamports": RENT} | fields])


async def set_mint(
    chain: Localnet, *, program: Pubkey = TOKEN_PROGRAM_ID, decimals: int = 6, initialized: int = 1
) -> None:
    """Write the mint."""
    layout = "<I32sQBBI32s"
    data = struct.pack(layout, 1, bytes(32), 0, decimals, initialized, 0, bytes(32))
    await set_account(chain, chain.programs.mint, owner=str(program), data=data.hex())


async def prepare(chain: Localnet) -> None:
    """Do the rest that `cvms dev` does for a chain with programs."""
    async with asking(chain) as rpc:
        await chain_setup.prepare_chain(rpc, chain.programs, chain.operator)


def deploy(chain: Localnet) -> None:
    """Deploy the programs, upgradeable by the operator."""
    for each in bundled_programs(chain.programs, upgrade_authority=chain.operator.pubkey()):
        program_deployment.deploy(
            chain.running.chain, each.program_id, each.elf, authority=each.upgrade_authority
        )


async def govern(chain: Localnet, step: Instruction) -> None:
    """Land an instruction of governance, which is the operator."""
    async with asking(chain) as rpc:
        await chain_setup.land(rpc, chain.operator, [step])
