"""The local chain answers the recorded questions as the recorded validator."""

from __future__ import annotations

from functools import partial

import httpx
import trio
from solders.keypair import Keypair
from solders.token.state import Mint

from cvms import localnet
from cvms.config.loader import load_programs
from cvms.dev.chain_setup import bundled_programs
from cvms.localnet.types import Commitment
from tests.conformance.node import AskedNode, differences_of_answers
from tests.conformance.recording import exchanges
from tests.localnet.local_node import TOKEN_PROGRAM

UNLIKE: frozenset[int] = frozenset()
"""Questions that the local chain answers otherwise (docs/localnet.md says why)."""


async def test_recorded_questions_are_answered_alike(nursery: trio.Nursery) -> None:
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
        data = bytes(Mint(Keypair().pubkey(), 0, 6, is_initialized=True))
        account = {"lamports": 1_461_600, "owner": TOKEN_PROGRAM, "data": data.hex()}
        await node.call("surfnet_setAccount", str(mint), account)
        cast = await node.prepare(mint=mint, program=programs.vault)
        found = {
            str(each): differences_of_answers(
                each.reply, await node.ask(each, cast), cast.recorded_names
            )
            for each in exchanges()
        }
    unlike = {each: differing for each, differing in found.items() if differing}
    expected = {str(each) for each in exchanges() if each.number in UNLIKE}
    assert set(unlike) == expected, unlike
