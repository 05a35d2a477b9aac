"""What a proof of reserves of a million vaults costs.

    .venv/bin/python -m bench.vaults.proofs [--vaults 1000000] [--lines 5] [--data FOLDER]

An embedded PostgreSQL server with the books of so many vaults, which are generated unless the
folder has them. Measured are the tree of all vaults, inclusion proofs, what is computed for each
line of the file of reserves, and batches of the indexer meanwhile. Reading the accounts depends on
the node, and is not measured.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import trio
from psycopg import IsolationLevel

from bench.vaults.__main__ import _server
from bench.vaults.books import Books
from bench.vaults.upkeep import Upkeep
from cvms.nursery.scheduled.proof_publisher import ProofPublisher
from cvms.proofs.reserve_lines import ReserveTotals, VaultLine, encoded, token_account_of
from cvms.proofs.stored_proofs import prove
from cvms.signing.audit_signer import AuditSigners
from cvms.store.postgres.database import Database, open_database
from cvms.store.proofs import entries, leaves
from cvms.store.proofs.entries import EntryRow, EntryTree
from cvms.store.vaults import statements

PROOFS = 200
LINES = 20_000
BATCHES = 10
NUMBER = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--vaults", type=int, default=1_000_000)
    parser.add_argument("--lines", type=int, default=5, help="of history for each vault")
    parser.add_argument("--data", type=Path, help="where the database is, or is kept")
    options = parser.parse_args()
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with ExitStack() as stack:
        folder = options.data or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="cvms-bench-"))
        )
        lines = options.vaults * options.lines
        url, planned = stack.enter_context(_server(folder / "proofs", options.vaults, lines))
        trio.run(_measure, url, planned)


async def _measure(url: str, planned: Books) -> None:
    async with open_database(url) as database:
        await database.prepare()
        upkeep = Upkeep(database, planned)
        async with database.dedicated(query_timeout=600) as conn:
            begin = time.perf_counter()
            await leaves.give_keys(conn)
            print(f"keys of new vaults: {time.perf_counter() - begin:.1f} s")
        async with database.connection() as conn:
            slot = (await statements.final_frontier(conn, str(planned.programs.vault))).slot
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await _tree(database, planned, slot)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"memory: {peak // 1024} MiB, of which the tree {(peak - before) // 1024}")
        await _proofs(database, planned)
        _lines(planned)
        await _indexer(upkeep, slot)


def _publisher(database: Database, planned: Books) -> ProofPublisher:
    return ProofPublisher(
        database=database,
        rpc=None,  # type: ignore[arg-type]  # only the tree is built
        programs=planned.programs,
        pools=[],
        signers=AuditSigners([]),
        interval=timedelta(hours=1),
    )


async def _tree(database: Database, planned: Books, slot: int) -> None:
    begin, cpu = time.perf_counter(), time.process_time()
    tree = await _publisher(database, planned)._tree(slot, NUMBER)
    wall, own = time.perf_counter() - begin, time.process_time() - cpu
    size = len(tree.top.nodes) + len(tree.first_keys)
    print(
        f"tree of {tree.top.count} vaults: {wall:.1f} s, {own:.1f} s of CPU here; "
        f"{size / 1e6:.2f} MB stored",
        flush=True,
    )
    row = EntryRow(
        number=NUMBER, slot=slot, text="{}", key=bytes(32), signature=bytes(64), file=uuid4()
    )
    upper = EntryTree(vaults=tree.top.count, first_keys=tree.first_keys, nodes=tree.top.nodes)
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM proof_entries")
        assert await entries.add(conn, row, upper)


async def _proofs(database: Database, planned: Books) -> None:
    took = []
    for turn in range(PROOFS):
        owner, _ = planned.addresses((turn * 7_919 + 13) * 101 % planned.vaults)
        begin = time.perf_counter()
        async with database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
            row = await entries.newest(conn)
            assert row is not None
            assert await prove(conn, row, owner) is not None
        took.append((time.perf_counter() - begin) * 1000)
    took.sort()
    p99 = took[len(took) * 99 // 100]
    print(f"an inclusion proof: median {statistics.median(took):.2f} ms, p99 {p99:.2f} ms")


def _lines(planned: Books) -> None:
    owners = sorted(planned.addresses(number % planned.vaults)[0] for number in range(LINES))
    derive = token_account_of(str(planned.programs.vault), str(planned.programs.mint))
    totals = ReserveTotals(slot=1, token_account_of=derive)
    begin = time.process_time()
    for owner in dict.fromkeys(owners):
        line = VaultLine(
            owner=owner,
            account=derive(owner),
            slot=1,
            books="1",
            books_lent="0",
            total="1",
            lent="0",
            amount="1",
            lamports="2039280",
            hash="00" * 32,
        )
        totals.add(encoded(line))
    each = (time.process_time() - begin) / LINES * 1e6
    print(f"a line of the file of reserves, made and checked: {each:.0f} µs")


async def _indexer(upkeep: Upkeep, slot: int) -> None:
    """Compare batches of the indexer alone with those beside a tree that is being built."""
    alone = [await upkeep.apply(turn * 1_000) for turn in range(BATCHES)]
    beside: list[float] = []
    async with trio.open_nursery() as nursery:
        publisher = _publisher(upkeep.database, upkeep.planned)
        nursery.start_soon(publisher._tree, slot, NUMBER)
        await trio.sleep(1)
        for turn in range(BATCHES):
            beside.append(await upkeep.apply(100_000 + turn * 1_000))
            await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
    was, now = statistics.median(alone) * 1000, statistics.median(beside) * 1000
    print(f"a batch of 100 of the indexer: {was:.1f} ms alone, {now:.1f} ms beside the tree")


if __name__ == "__main__":
    main()
