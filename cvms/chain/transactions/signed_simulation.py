"""Simulation of a transaction whose blockhash is fixed, as its signers have signed it."""

from __future__ import annotations

from cvms.chain.rpc.responses import Simulation
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.versioned import AnyMessage, required_signers, unsigned
from cvms.chain.types import Commitment, Lamports


async def simulate_signed(
    rpc: RpcClient, message: AnyMessage, *, last_valid_block_height: int
) -> Simulation:
    """Simulate the message without its signatures, so that no node could send it.

    A node that says that it does not know the blockhash may only be behind the one that gave it:
    while the blockhash is valid by its height, the rest of the message is simulated with another.
    """
    wire, payer = bytes(unsigned(message)), required_signers(message)[0]
    result = await rpc.simulate(wire, payer=payer)
    if result.err != "BlockhashNotFound":
        return result
    if await rpc.get_block_height(Commitment.CONFIRMED) > last_valid_block_height:
        return result
    return await rpc.simulate(wire, payer=payer, replace_recent_blockhash=True)


async def payer_spends(rpc: RpcClient, message: AnyMessage, simulation: Simulation) -> Lamports:
    """Return what the simulation takes from the fee payer.

    Where the node does not say what the payer had, its balance is read afterwards: what others took
    from it meanwhile makes the difference smaller. So this finds what takes the payer's money, but
    only what the message says can prove that nothing does.
    """
    before, after = simulation.payer_before, simulation.payer_after
    if before is None:
        before = await rpc.get_balance(required_signers(message)[0])
    return Lamports(before - (after or 0))
