"""Cost of a reconciliation pass over all vaults: accounts, rows, history and balances compared.

    .venv/bin/python -m bench.tasks.reconciliation [--vaults 10000] [--lines 10]

A local chain with so many vault accounts and an embedded PostgreSQL with their books, both on this
machine and the chain in this process, so that its share of the time is in what is printed. The
baseline of a pass is how fast the chain serves the same accounts to a client that only reads them.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from functools import partial
from pathlib import Path

import trio
from solders.account import Account
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_PROGRAM_ID

from bench import report
from bench.vaults.books import plain_vault
from cvms import localnet
from cvms.chain import borsh
from cvms.chain.program.accounts import VAULT_DISCRIMINATOR
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.types import Commitment, Programs, Slot
from cvms.config.loader import load_programs
from cvms.dev.postgres import embedded_postgres
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import ReconcileQueue
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.nursery.ledger.vault_rows import vault_row
from cvms.nursery.reconciliation.reconciler import Reconciler
from cvms.store.postgres.database import Database, open_database
from cvms.store.projection import vault_writer

HELD = 1_000

FILL = """
INSERT INTO transactions (
    owner, vault, kind, amount, slot, signature, instruction_index, ordinal, commitment
)
SELECT owner, vault, 'deposit', total / %(lines)s, 1, 's' || owner || n, 0, 0, 'finalized'
FROM vaults
CROSS JOIN generate_series(1, %(lines)s) AS n
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--vaults", type=int, default=10_000)
    parser.add_argument("--lines", type=int, default=10, help="of history for each vault")
    report.add_arguments(parser)
    options = parser.parse_args()
    print(f"{options.vaults} vaults, {options.lines} lines each; {report.machine()}")
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        embedded_postgres(Path(folder) / "data") as url,
    ):
        rows = trio.run(_run, url, options.vaults, options.lines)
    report.finish(report.Report("tasks.reconciliation", tuple(rows)), options.json)


async def _run(url: str, count: int, lines: int) -> list[report.Row]:
    rows = []
    programs = load_programs({})
    async with trio.open_nursery() as nursery, open_database(url) as database:
        serve = partial(localnet.serve, port=0, ledger=None, programs=())
        chain: localnet.Running = await nursery.start(serve)
        await database.prepare()
        addresses = await _fill(chain, database, programs, count, lines)
        async with open_rpc([chain.rpc_url]) as rpc:
            reconciler = Reconciler(
                database=database,
                rpc=rpc,
                programs=programs,
                progress=IndexerProgress(),
                reconciliations=ReconcileQueue(),
                outbox_wake=OutboxWakeup(),
                interval=60.0,
                threshold=0,
                hook=None,
                board=StatusBoard(),
                metrics=(metrics := Metrics()),
            )
            begin = time.perf_counter()
            await rpc.get_accounts(addresses, commitment=Commitment.CONFIRMED)
            only_read = count / (time.perf_counter() - begin)
            for name in ("with the chain's list", "without"):
                begin, cpu = time.perf_counter(), time.process_time()
                await reconciler.full_pass()
                rate, cpu = count / (time.perf_counter() - begin), time.process_time() - cpu
                rows.append(report.row(f"vaults in a pass {name}", rate, "vaults/s", only_read))
                each = cpu * 1000 / count
                rows.append(report.row(f"CPU each, {name}, the chain's included", each, "CPU ms"))
        equal = metrics.registry.get_sample_value(
            "cvms_reconciliation_checks_total", {"outcome": "equal"}
        )
        if equal != 2 * count:
            raise ValueError(f"{equal} of {2 * count} checks found a vault equal")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append(report.row("highest memory, the chain's included", peak, "MiB"))
        nursery.cancel_scope.cancel()
    return rows


async def _fill(
    chain: localnet.Running, database: Database, programs: Programs, count: int, lines: int
) -> list[Pubkey]:
    """Return the addresses of all vaults and of their token accounts."""
    rows, addresses = [], []
    for _ in range(count):
        owner = Pubkey.new_unique()
        address = vault_address(programs, owner)
        vault = plain_vault(
            owner=owner,
            token_account=token_account(address, programs.mint),
            usdt_mint=programs.mint,
            total_balance=HELD,
            available_balance=HELD,
            total_deposited=HELD,
        )
        data = VAULT_DISCRIMINATOR + borsh.encode(vault)
        chain.chain.overwrite(address, Account(10**9, data, programs.vault))
        tokens = bytes(programs.mint) + bytes(address) + HELD.to_bytes(8, "little")
        held = Account(10**9, tokens + bytes(36) + b"\x01" + bytes(56), TOKEN_PROGRAM_ID)
        chain.chain.overwrite(vault.token_account, held)
        rows.append(vault_row(address, vault, Slot(1)))
        addresses += [address, vault.token_account]
    for first in range(0, count, 1000):
        async with database.transaction() as conn:
            await vault_writer.advance(conn, rows[first : first + 1000])
    async with database.dedicated(query_timeout=300) as conn:
        await conn.execute(FILL, {"lines": lines})
        await conn.execute("ANALYZE")
    return addresses


if __name__ == "__main__":
    main()
