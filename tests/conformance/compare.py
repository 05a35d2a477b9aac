"""`make conformance`: the recorded questions, put to a validator and to the local chain.

Prints what differs. Without a validator on the PATH the local chain is compared with the recording.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import trio
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.token.state import Mint
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms import localnet
from cvms.config.loader import load_programs
from cvms.dev.chain_setup import bundled_programs
from tests.conformance.likeness import Json
from tests.conformance.node import AskedNode, differences_of_answers
from tests.conformance.recording import Cast, Exchange, exchanges
from tests.conformance.validator import found, validator

FINAL_SECONDS = 60.0


async def main() -> int:
    """Print the table, and return 1 if the local chain differs.

    That a validator differs from its recording is shown only: it does so with time.
    """
    mint, program = Keypair().pubkey(), load_programs({}).vault
    async with AsyncExitStack() as stack:
        nodes = {"local chain": await stack.enter_async_context(_local_chain(mint))}
        if found() is not None:
            nodes["validator"] = await stack.enter_async_context(_validator(mint))
        casts: dict[str, Cast] = {}

        async def prepare(name: str) -> None:
            casts[name] = await nodes[name].prepare(mint=mint, program=program)

        async with trio.open_nursery() as nursery:
            for name in nodes:
                nursery.start_soon(prepare, name)
        unlike = 0
        for exchange in exchanges():
            answers = {name: await nodes[name].ask(exchange, casts[name]) for name in nodes}
            differing = _differing(exchange, answers, casts)
            unlike += any(name.startswith("local chain") for name in differing)
            _show(exchange, differing)
    against = "the validator" if "validator" in nodes else "the recording: no validator is on PATH"
    _say(f"{len(exchanges()) - unlike} of {len(exchanges())} alike, compared with {against}")
    return 1 if unlike else 0


def _differing(
    exchange: Exchange, answers: dict[str, Json], casts: dict[str, Cast]
) -> dict[str, list[str]]:
    """Return how the local chain's answer differs, and the validator's from the recorded one."""
    local, own = answers["local chain"], casts["local chain"].recorded_names
    recorded = differences_of_answers(exchange.reply, local, own)
    if "validator" not in answers:
        return {"local chain": recorded} if recorded else {}
    theirs = casts["validator"].in_recorded_names(answers["validator"])
    compared = {
        "local chain, as the validator answers": differences_of_answers(theirs, local, own),
        "validator, as was recorded": differences_of_answers(exchange.reply, theirs, {}),
    }
    return {name: each for name, each in compared.items() if each}


def _show(exchange: Exchange, differing: dict[str, list[str]]) -> None:
    ours = any(name.startswith("local chain") for name in differing)
    _say(f"{'differs' if ours else 'alike':8} {exchange}")
    for name, each in differing.items():
        for difference in each:
            _say(f"         {name}: {difference[:300]}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


@asynccontextmanager
async def _local_chain(mint: Pubkey) -> AsyncIterator[AskedNode]:
    programs = bundled_programs(load_programs({}))
    async with trio.open_nursery() as nursery, httpx.AsyncClient() as http:
        serve = partial(localnet.serve, port=0, ledger=None, programs=programs)
        running: localnet.Running = await nursery.start(serve)
        running.chain.overwrite(mint, mint_account())
        yield _asked(running.rpc_url, http)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _validator(mint: Pubkey) -> AsyncIterator[AskedNode]:
    programs = bundled_programs(load_programs({}))
    with tempfile.TemporaryDirectory() as folder:
        genesis = validator(Path(folder), programs=programs, accounts=[(mint, mint_account())])
        async with genesis as running, httpx.AsyncClient() as http:
            yield _asked(running.rpc_url, http)


def mint_account() -> Account:
    data = bytes(Mint(Keypair().pubkey(), 0, 6, is_initialized=True))
    return Account(1_461_600, data, TOKEN_PROGRAM_ID)


def _asked(url: str, http: httpx.AsyncClient) -> AskedNode:
    async def finalize(signature: str) -> None:
        search = {"searchTransactionHistory": True}
        with trio.fail_after(FINAL_SECONDS):
            while True:
                [status] = (await node.call("getSignatureStatuses", [signature], search))["value"]
                if status is not None and status["confirmationStatus"] == "finalized":
                    return
                await trio.sleep(0.2)

    node = AskedNode(url, http, finalize)
    return node


if __name__ == "__main__":
    sys.exit(trio.run(main))
