"""Simulation of a transaction whose blockhash is fixed, as its signers have signed it."""

from __future__ import annotations

from solders.message import MessageV0

from cvms.chain.rpc.responses import Simulation
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.versioned import unsigned
from cvms.chain.types import Commitment


async def simulate_signed(
    rpc: RpcClient, message: MessageV0, *, last_valid_block_height: int
) -> Simulation:
    """Simulate the message without its signatures, so that no node could send it.

    A node that says that it does not know the blockhash may only be behind the one that gave it:
    while the blockhash is valid by its height, the rest of the message is simulated with another.
    """
    wire = bytes(unsigned(message))
    result = await rpc.simulate(wire)
    if result.err != "BlockhashNotFound":
        return result
    if await rpc.get_block_height(Commitment.CONFIRMED) > last_valid_block_height:
        return result
    return await rpc.simulate(wire, replace_recent_blockhash=True)
