"""A local chain in the test's process, ready for the service."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import trio
from solders.keypair import Keypair

from cvms import localnet
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.rpc.transport.endpoint_pool import EndpointPool
from cvms.chain.rpc.transport.failover import FailoverTransport
from cvms.chain.types import Programs
from cvms.config.loader import load_programs
from cvms.dev.chain_setup import bundled_programs, prepare_chain
from cvms.localnet.node.faults import NodeFaults
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.dispatch import answer
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
    await prepare_chain(_rpc_without_http(chain), programs, operator)
    return Localnet(chain.rpc_url, chain.ws_url, operator, programs, chain)


def _rpc_without_http(chain: localnet.Running) -> RpcClient:
    """Return a client of the chain whose calls cost half of what they do over HTTP."""
    pool = EndpointPool([chain.rpc_url], clock=trio.current_time)
    node = _NodeWithoutHttp(Node(chain.chain, NodeFaults()))
    return RpcClient(FailoverTransport(pool, node, timeout=5, metrics=None))


class _NodeWithoutHttp(httpx.AsyncBaseTransport):
    """Hands requests to a node of this process."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await answer(self._node, await request.aread())
        for _ in range(2):  # the block producer sees a transaction that was sent, and confirms it
            await trio.lowlevel.checkpoint()
        return httpx.Response(200, stream=httpx.ByteStream(body or b""))
