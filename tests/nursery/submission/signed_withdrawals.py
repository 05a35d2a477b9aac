"""Signed transactions as the front end records them, and their states."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.keypair import Keypair

from cvms.chain.transactions.versioned import message_hash, message_of, signature_of
from cvms.chain.types import Commitment
from cvms.nursery.submission.submitter import Submitter
from cvms.store.submissions import submissions
from cvms.store.submissions.submissions import State, Submission
from tests.nursery.world import World, address, held_clock, until


async def accept(
    world: World, owner: Keypair, *steps: Instruction, last_valid: int | None = None
) -> str:
    """Sign a transaction and record it as the front end does, without sending it."""
    since = await world.rpc.get_slot(Commitment.CONFIRMED)
    transaction = await world.signed(owner, *steps)
    message = message_of(transaction)
    height = await world.rpc.get_block_height(Commitment.CONFIRMED)
    async with world.database.transaction() as conn:
        await submissions.record_signed(
            conn,
            message_hash=message_hash(message),
            kind="deposit",
            owner=address(owner),
            signature=signature_of(transaction),
            message=bytes(message),
            wire=bytes(transaction),
            last_valid_block_height=height + 140 if last_valid is None else last_valid,
            since_slot=since,
        )
    return signature_of(transaction)


async def submission(world: World, signature: str) -> Submission:
    async with world.database.connection() as conn:
        found = await submissions.get_by_signature(conn, signature)
    assert found is not None
    return found


async def until_state(world: World, submitter: Submitter, signature: str, state: State) -> None:
    """Run the submitter once in every slot until the submission is in this state.

    The clock is held between two runs, so that a slow machine skips no state.
    """

    async def reached() -> bool:
        await submitter.run_once()
        if (await submission(world, signature)).state is state:
            return True
        world.chain.chain.advance()
        return False

    with held_clock(world.chain.chain):
        await until(reached)


async def published_states(world: World) -> list[str]:
    """Return the published states, in order."""
    return [row.data["status"] for row in await world.outbox("transaction_update")]
