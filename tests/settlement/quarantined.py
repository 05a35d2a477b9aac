"""Submissions that the service has given up, and what is known of them."""

from __future__ import annotations

from solders.keypair import Keypair

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment
from cvms.settlement.evidence import Evidence
from cvms.settlement.gathering import EvidenceSources, find, gather
from cvms.store.submissions import in_flight
from cvms.store.submissions.in_flight import StateChange
from cvms.store.submissions.submissions import State
from tests.nursery.submission.signed_withdrawals import accept
from tests.nursery.world import World


async def opened(world: World) -> Keypair:
    """A wallet with an empty vault, all of it final."""
    world.chain.chain.resume()
    owner = await world.owner()
    world.chain.chain.pause()
    world.chain.chain.advance(8)
    return owner


async def quarantined(
    world: World, owner: Keypair, *, lands: bool, amount: int = 5, finalized: bool = True
) -> str:
    """A deposit of which the service does not know what became of it."""
    height = await world.rpc.get_block_height(Commitment.CONFIRMED)
    signature = await accept(world, owner, world.deposit(owner, amount), last_valid=height + 3)
    async with world.database.transaction() as conn:
        if lands:
            wires = await in_flight.wires(conn, [signature])
            await world.rpc.send_transaction(wires[signature])
        [row] = [each for each in await in_flight.read(conn) if each.signature == signature]
        await in_flight.apply_changes(conn, [StateChange(row, State.QUARANTINED)])
    world.chain.chain.advance(20 if finalized else 2)
    return signature


def sources(world: World, rpc: RpcClient | None = None, seconds: float = 10.0) -> EvidenceSources:
    return EvidenceSources(
        database=world.database, rpc=rpc or world.rpc, programs=world.programs, seconds=seconds
    )


async def evidence_of(world: World, key: str, rpc: RpcClient | None = None) -> Evidence:
    return await gather(sources(world, rpc), await find(world.database, key))
