"""The local chain answers the recorded questions as the recorded validator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms import localnet
from cvms.config.loader import load_programs
from cvms.dev.chain_setup import bundled_programs
from cvms.localnet.types import Commitment
from tests.conformance.compare import mint_account
from tests.conformance.node import AskedNode, differences_of_answers
from tests.conformance.recording import Exchange, exchanges, refusals


@pytest.mark.parametrize(("recorded", "count"), [(exchanges, 121), (refusals, 661)])
async def test_recorded_questions_are_answered_alike(
    nursery: trio.Nursery, recorded: Callable[[], Sequence[Exchange]], count: int
) -> None:
    programs = load_programs({})
    timing = localnet.Timing(slot_seconds=0.4, confirmed_lag=1, finalized_lag=31)
    serve = partial(
        localnet.serve, port=0, ledger=None, programs=bundled_programs(programs), timing=timing
    )
    running: localnet.Running = await nursery.start(serve)
    running.chain.pause()

    async def finalize(signature: str) -> None:
        slot = running.chain.ledger.position(signature)
        assert slot is not None
        while running.chain.bank(Commitment.FINALIZED).slot < slot[0]:
            running.chain.advance()

    async with httpx.AsyncClient() as http:
        node = AskedNode(running.rpc_url, http, finalize)
        mint = Keypair().pubkey()
        running.chain.overwrite(mint, mint_account())
        cast = await node.prepare(mint=mint, program=programs.vault)
        found = {
            str(each): differences_of_answers(
                each.reply, await node.ask(each, cast), cast.recorded_names
            )
            for each in recorded()
        }
    assert len(found) == count
    assert {each: differing for each, differing in found.items() if differing} == {}
