"""Duration of a submitter round with many transactions in flight.

`python -m bench.submitter_rounds [--transactions 1000]`: the submitter, an embedded PostgreSQL and
the local chain, which runs every transaction, in one process.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import trio
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from cvms import localnet
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.transactions.versioned import message_hash, message_of, signature_of
from cvms.config.loader import load_programs
from cvms.dev.postgres import embedded_postgres
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, SubmitWakeup
from cvms.nursery.submission.submitter import Submitter
from cvms.store.postgres.database import Database, open_database
from cvms.store.submissions import submissions

TIMING = localnet.Timing(slot_seconds=0.4, confirmed_lag=1, finalized_lag=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=1000)
    count: int = parser.parse_args().transactions
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        embedded_postgres(Path(folder) / "data") as url,
    ):
        trio.run(measure, url, count)


async def measure(url: str, count: int) -> None:
    serve = partial(localnet.serve, port=0, ledger=None, timing=TIMING)
    async with trio.open_nursery() as nursery, open_database(url) as database:
        await database.prepare()
        running: localnet.Running = await nursery.start(serve)
        running.chain.pause()
        async with open_rpc([running.rpc_url]) as rpc:
            await sign(rpc, database, count)
            submitter = Submitter(
                database=database,
                rpc=rpc,
                programs=load_programs({}),
                operator=Pubkey.default(),
                wake=SubmitWakeup(),
                outbox_wake=OutboxWakeup(),
                board=StatusBoard(),
                metrics=Metrics(),
                resend_seconds=3600,
            )
            print(f"\n| a round with {count} under way | ms |\n|---|---|")
            for name, blocks in (
                ("all are sent", 0),
                ("all are confirmed", 1),
                ("nothing has changed", 0),
                ("all are final", 5),
            ):
                running.chain.advance(blocks)
                begin = time.perf_counter()
                await submitter.run_once()
                print(f"| {name} | {(time.perf_counter() - begin) * 1000:.0f} |", flush=True)
        nursery.cancel_scope.cancel()


async def sign(rpc: RpcClient, database: Database, count: int) -> None:
    """Store so many unsent transactions, as the front end does."""
    payer = Keypair()
    await rpc.call("requestAirdrop", [str(payer.pubkey()), 10**12])
    latest = await rpc.get_latest_blockhash()
    async with database.transaction() as conn:
        for lamports in range(count):
            to_itself = TransferParams(
                from_pubkey=payer.pubkey(), to_pubkey=payer.pubkey(), lamports=lamports
            )
            message = MessageV0.try_compile(
                payer.pubkey(), [transfer(to_itself)], [], latest.blockhash
            )
            transaction = VersionedTransaction(message, [payer])
            await submissions.record_signed(
                conn,
                message_hash=message_hash(message_of(transaction)),
                kind="deposit",
                owner=str(payer.pubkey()),
                message=bytes(message),
                signature=signature_of(transaction),
                wire=bytes(transaction),
                last_valid_block_height=latest.last_valid_block_height,
                since_slot=latest.slot,
            )


if __name__ == "__main__":
    main()
