"""`cvms localnet`: the local chain alone, set up for the service."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import trio
from solders.keypair import Keypair

from cvms import localnet
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.types import Programs
from cvms.dev.chain_setup import bundled_programs, prepare_chain
from cvms.dev.data_folder import locked_folder, operator_keypair
from cvms.signing.signer import Signer

LEDGER = "ledger.sqlite3"


async def run_localnet(
    *,
    programs: Programs,
    host: str,
    port: int,
    data: Path,
    in_memory: bool,
    reset: bool,
    bare: bool,
    timing: localnet.Timing,
) -> None:
    """Serve until SIGINT or SIGTERM. A `bare` chain has no programs, no mint and no operator."""
    with (
        locked_folder(data, "localnet"),
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
    ):
        if reset:
            forget_ledger(data)
        operator = operator_keypair(data / "operator.json")
        deployed = bundled_programs(programs, upgrade_authority=operator.pubkey())
        async with trio.open_nursery() as nursery:
            running = await nursery.start(
                partial(
                    localnet.serve,
                    host=host,
                    port=port,
                    ledger=None if in_memory else data / LEDGER,
                    programs=() if bare else deployed,
                    timing=timing,
                )
            )
            if not bare:
                await prepare(running, programs, operator)
            print(f"RPC     {running.rpc_url}\nPubSub  {running.ws_url}", flush=True)
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


async def prepare(
    running: localnet.Running, programs: Programs, operator: Signer | Keypair
) -> None:
    """Set up a running chain for the service."""
    async with open_rpc([running.rpc_url]) as rpc:
        await prepare_chain(rpc, programs, operator)


def forget_ledger(data: Path) -> None:
    """Remove the ledger and its journal files."""
    for file in data.glob(f"{LEDGER}*"):
        file.unlink()
