"""The local chain with its ledger on disk and some accounts, in a process of its own."""

from __future__ import annotations

import logging
import sys
import tempfile
from functools import partial
from pathlib import Path

import structlog
import trio
from solana.constants import SYSTEM_PROGRAM_ID
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.token.state import Mint, TokenAccount, TokenAccountState
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms import localnet
from cvms.localnet.ledger.chain import LocalnetChain

OWNERS = [Keypair.from_seed(number.to_bytes(32, "big")) for number in range(1, 101)]
"""Each has lamports, and tokens in the account that `holding` names."""

MINT = Pubkey.from_bytes(b"mint".rjust(32))
LAMPORTS = 10**12


def holding(owner: Keypair) -> Pubkey:
    """Return an owner's token account."""
    return Pubkey.create_with_seed(owner.pubkey(), "holding", TOKEN_PROGRAM_ID)


async def serve(ledger: Path) -> None:
    """Print the port, and serve until standard input ends."""
    async with trio.open_nursery() as nursery:
        run = partial(localnet.serve, port=0, ledger=ledger)
        running: localnet.Running = await nursery.start(run)
        fill(running.chain)
        print(running.rpc_url.rpartition(":")[2], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


def fill(chain: LocalnetChain) -> None:
    chain.overwrite(MINT, _token(bytes(Mint(None, 10**18, 6, is_initialized=True))))
    for owner in OWNERS:
        held = TokenAccount(
            mint=MINT,
            owner=owner.pubkey(),
            amount=10**12,
            delegate=None,
            state=TokenAccountState.Initialized,
            is_native=None,
            delegated_amount=0,
            close_authority=None,
        )
        chain.overwrite(owner.pubkey(), Account(LAMPORTS, b"", SYSTEM_PROGRAM_ID))
        chain.overwrite(holding(owner), _token(bytes(held)))


def _token(data: bytes) -> Account:
    return Account(LAMPORTS, data, TOKEN_PROGRAM_ID)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder:
        trio.run(serve, Path(folder) / "ledger.sqlite")
