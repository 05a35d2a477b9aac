"""A local chain in the test's process, ready for the service."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import trio
from solders.keypair import Keypair

from cvms import localnet
from cvms.chain.types import Programs
from cvms.config.loader import load_programs
from cvms.dev.chain_setup import bundled_programs
from cvms.dev.localnet import prepare
from tests.block_producer import BlockProducer

FAST = localnet.Timing(slot_seconds=0.05, confirmed_lag=1, finalized_lag=4)


@dataclass(frozen=True, slots=True)
class Localnet:
    """A local chain that is ready for the service; `running.chain` reaches into it."""

    rpc_url: str
    ws_url: str
    operator: Keypair
    programs: Programs
    running: localnet.Running

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `Config` with which the service uses this chain."""
        return {
            "operator": self.operator,
            "programs": self.programs,
            "rpc_urls": (self.rpc_url,),
            "ws_urls": (self.ws_url,),
        }


async def start_localnet(nursery: trio.Nursery, timing: localnet.Timing) -> Localnet:
    """Start an in-memory chain with the program, the mint and a funded operator."""
    programs, operator = load_programs({}), Keypair()
    deployed = bundled_programs(programs, upgrade_authority=operator.pubkey())
    chain: localnet.Running = await nursery.start(
        partial(localnet.serve, port=0, ledger=None, programs=deployed, timing=timing)
    )
    nursery.start_soon(BlockProducer(chain.chain).run)
    await prepare(chain, programs, operator)
    return Localnet(chain.rpc_url, chain.ws_url, operator, programs, chain)
