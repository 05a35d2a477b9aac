"""A local chain that holds generated vaults, in a process of its own."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from functools import partial

import trio
from solders.account import Account
from spl.token.constants import TOKEN_PROGRAM_ID

from bench.vaults.books import Books
from cvms import localnet
from cvms.chain import borsh
from cvms.chain.program.accounts import VAULT_DISCRIMINATOR
from cvms.chain.program.addresses import vault_address
from cvms.config.loader import load_programs

SERVE = "from bench.vaults.serve_chain import main; main()"
RENT = 10**9
INITIALIZED = bytes(36) + b"\x01" + bytes(56)
"""Rest of a token account after its amount: no delegate, its state, no close authority."""


def main() -> None:
    vaults, lines, end = sys.argv[1:]
    trio.run(serve, Books(int(vaults), int(lines), datetime.fromisoformat(end), load_programs({})))


async def serve(planned: Books) -> None:
    """Make the accounts of all vaults, print the URL, serve until standard input ends."""
    async with trio.open_nursery() as nursery:
        run = partial(localnet.serve, port=0, ledger=None, programs=())
        running: localnet.Running = await nursery.start(run)
        running.chain.pause()
        fill(running, planned)
        print(json.dumps(running.rpc_url), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


def fill(running: localnet.Running, planned: Books) -> None:
    chain, programs = running.chain, planned.programs
    for number in range(planned.vaults):
        vault = planned.account(number)
        address = vault_address(programs, vault.owner)
        data = VAULT_DISCRIMINATOR + borsh.encode(vault)
        chain.overwrite(address, Account(RENT, data, programs.vault))
        held = (vault.total_balance - vault.yield_deposited_balance).to_bytes(8, "little")
        tokens = bytes(programs.mint) + bytes(address) + held + INITIALIZED
        chain.overwrite(vault.token_account, Account(RENT, tokens, TOKEN_PROGRAM_ID))
    chain.start_slot(planned.head + 1)
    chain.advance(40)  # so that the slot of the newest row is final
