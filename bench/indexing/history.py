"""A local chain with a long history behind its RPC, in a process of its own."""

from __future__ import annotations

import json
import sys
from functools import partial

import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms import localnet
from cvms.chain.program import instructions
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.types import Programs
from cvms.config.loader import load_programs
from cvms.dev.chain_setup import bundled_programs
from cvms.dev.localnet import prepare
from cvms.localnet.ledger.chain import LocalnetChain

SERVE = "from bench.indexing.history import main; main()"
OWNERS = 100
IN_A_BLOCK = 100


def main() -> None:
    trio.run(serve, int(sys.argv[1]))


async def serve(transactions: int) -> None:
    """Make the deposits of a hundred owners, print the URLs, serve until standard input ends."""
    programs, operator = load_programs({}), Keypair()
    deployed = bundled_programs(programs, upgrade_authority=operator.pubkey())
    async with trio.open_nursery() as nursery:
        run = partial(localnet.serve, port=0, ledger=None, programs=deployed)
        running: localnet.Running = await nursery.start(run)
        await prepare(running, programs, operator)
        running.chain.pause()
        await fill(running, programs, transactions)
        print(json.dumps([running.rpc_url, running.ws_url]), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


async def fill(running: localnet.Running, programs: Programs, transactions: int) -> None:
    chain, owners = running.chain, [Keypair() for _ in range(OWNERS)]
    async with open_rpc([running.rpc_url], timeout=30.0) as rpc:
        for owner in owners:
            await rpc.call("requestAirdrop", [str(owner.pubkey()), 1_000_000_000_000])
            holding = [str(owner.pubkey()), str(programs.mint), {"amount": 10**15}]
            await rpc.call("surfnet_setTokenAccount", holding)
    for owner in owners:
        act(chain, owner, instructions.initialize_vault(programs, owner.pubkey()))
    for number in range(transactions):
        if number % IN_A_BLOCK == 0:
            chain.advance()
        owner = owners[number % OWNERS]
        act(chain, owner, deposit(programs, owner.pubkey(), number + 1))
    chain.advance(40)


def deposit(programs: Programs, owner: Pubkey, amount: int) -> Instruction:
    return instructions.deposit(programs, authority=owner, owner=owner, amount=amount)


def act(chain: LocalnetChain, signer: Keypair, step: Instruction) -> None:
    """Execute a transaction at once, without RPC."""
    message = MessageV0.try_compile(signer.pubkey(), [step], [], chain.tip.blockhash)
    chain.process(VersionedTransaction(message, [signer]))
