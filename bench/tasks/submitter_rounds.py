"""Duration of a submitter round with many transactions in flight.

    .venv/bin/python -m bench.tasks.submitter_rounds [--transactions 1000] [--json FILE]

The submitter, an embedded PostgreSQL and the local chain, which runs every transaction, in one
process. The baseline of the later rounds is the first one, in which all are sent.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import trio
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from bench import report
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
    report.add_arguments(parser)
    options = parser.parse_args()
    print(f"{options.transactions} transactions in flight; {report.machine()}")
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        embedded_postgres(Path(folder) / "data") as url,
    ):
        rows = trio.run(measure, url, options.transactions)
    report.finish(report.Report("tasks.submitter_rounds", tuple(rows)), options.json)


async def measure(url: str, count: int) -> list[report.Row]:
    rows, base = list[report.Row](), None
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
                is_deterministic=lambda _: False,
                wake=SubmitWakeup(),
                outbox_wake=OutboxWakeup(),
                board=StatusBoard(),
                metrics=Metrics(),
                resend_seconds=3600,
            )
            for name, blocks in (
                ("all are sent", 0),
                ("all are confirmed", 1),
                ("nothing has changed", 0),
                ("all are final", 5),
            ):
                running.chain.advance(blocks)
                begin = time.perf_counter()
                await submitter.run_once()
                taken = (time.perf_counter() - begin) * 1000
                rows.append(report.row(f"a round in which {name}", taken, "ms", base))
                base = base or taken
        nursery.cancel_scope.cancel()
    return rows


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
