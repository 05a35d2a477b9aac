"""Fill a database with the books of many vaults, by COPY, in minutes.

    .venv/bin/python -m bench.vaults.generate --vaults 1000000 --lines 20000000 --data /tmp/million

Vaults, history, events and balances are consistent: reconciliation and recounts find no difference.
The other tables get rows in proportion. Indexes are built at the end. Takes 100 bytes of memory for
each vault, and 40 GB of disk for twenty million lines.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import psycopg
import trio
from psycopg import sql

from bench.vaults.books import (
    BALANCES,
    EVENTS,
    STEPS,
    Books,
    Sums,
    books,
    signature,
    size,
)
from bench.vaults.side_tables import fill_side_tables
from cvms.config.loader import load_programs
from cvms.dev.postgres import embedded_postgres
from cvms.store.analytics import aggregate_check
from cvms.store.postgres.database import open_database
from cvms.store.vaults.history import Kind

SERVER = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "shared_buffers": "2GB",
}
"""Nothing has to survive a crash."""
BUILD = {"maintenance_work_mem": "1GB", "work_mem": "512MB", "statement_timeout": "0"}
BLOCK = 5_000
"""Lines that are formatted at once."""
TABLES = ("transactions", "chain_events", "balance_history")
REPORT_SECONDS = 10.0
Report = Callable[[str], None]

LINES = """
COPY transactions (owner, vault, kind, amount, balance_after, slot, block_time, signature,
                   instruction_index, ordinal, commitment)
FROM STDIN (FREEZE)
"""
EVENT_ROWS = """
COPY chain_events (signature, instruction_index, ordinal, slot, block_time, name, vault, owner,
                   commitment, data)
FROM STDIN (FREEZE)
"""
POINTS = """
COPY balance_history (owner, slot, vault, total, available, locked, timelocked, yield_deposited,
                      block_time, observed)
FROM STDIN (FREEZE)
"""
VAULTS = """
COPY vaults (owner, vault, token_account, mint, total, available, locked, timelocked,
             yield_deposited, total_deposited, total_withdrawn, multisig_threshold, delegates,
             state, slot, updated_at, settled_slot)
FROM STDIN
"""
MINTS = "INSERT INTO vault_mints (vault, owner, ours) SELECT vault, owner, TRUE FROM vaults"
CURSOR = """
INSERT INTO indexer_cursor (program, slot, signature, through, block_time)
VALUES (%(program)s, %(slot)s, %(signature)s, %(slot)s, %(time)s)
"""
SUMS = """
INSERT INTO history_sums (owner, kind, count, amount)
SELECT owner, kind, count(*), sum(amount)
FROM transactions
GROUP BY owner, kind
"""
# Filled in the transaction that truncates them, tables are not written to the log as well.
TRUNCATE = "TRUNCATE transactions, chain_events, balance_history"
DEFINITIONS = """
SELECT conrelid::REGCLASS::TEXT, 'CONSTRAINT', conname, pg_get_constraintdef(oid)
FROM pg_constraint
WHERE contype IN ('p', 'u')
  AND conrelid = ANY(%(tables)s::REGCLASS[])
UNION ALL
SELECT indrelid::REGCLASS::TEXT, 'INDEX', indexrelid::REGCLASS::TEXT, pg_get_indexdef(indexrelid)
FROM pg_index
WHERE indrelid = ANY(%(tables)s::REGCLASS[])
  AND NOT indisunique
ORDER BY 2, 3
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--vaults", type=int, default=1_000_000)
    parser.add_argument("--lines", type=int, default=20_000_000, help="of history, of all vaults")
    parser.add_argument("--data", type=Path, required=True, help="an empty folder, which is kept")
    options = parser.parse_args()
    with embedded_postgres(options.data) as url:
        configure(url)
    with embedded_postgres(options.data) as url:
        generate(url, books(options.vaults, options.lines, load_programs({})), report=_print)


def configure(url: str) -> None:
    """Set what the server reads at its next start."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in SERVER.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())


def generate(url: str, planned: Books, *, report: Report) -> None:
    """Fill an empty database with the books, and bring its statistics up to date."""
    begin = time.perf_counter()
    trio.run(_apply_schema, url)
    keys = Keys(planned)
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in BUILD.items():
            connection.execute(f"SET {name} = '{value}'".encode())
        dropped = list(drop_indexes(connection, TABLES))
        with connection.transaction():
            connection.execute(TRUNCATE)
            connection.execute("ALTER TABLE transactions DISABLE TRIGGER USER")
            copy_lines(connection, planned, keys, (LINES, EVENT_ROWS, POINTS), report)
            connection.execute("ALTER TABLE transactions ENABLE TRIGGER USER")
            connection.execute(SUMS)
        copy_vaults(connection, planned, keys, report)
        for table, kind, name, definition in dropped:
            started = time.perf_counter()
            restore_index(connection, table, kind, name, definition)
            report(f"{name} in {time.perf_counter() - started:.0f} s")
        connection.execute(MINTS)
        last = signature(planned.lines - 1)
        cursor = {"program": str(planned.programs.vault), "slot": planned.head, "signature": last}
        connection.execute(CURSOR, cursor | {"time": planned.end})
        report("the other tables")
        fill_side_tables(connection, planned)
        connection.execute("VACUUM ANALYZE")
    report("the sums")
    trio.run(_count, url)
    report(f"{planned.vaults} vaults, {planned.lines} lines in {time.perf_counter() - begin:.0f} s")


def _print(text: str) -> None:
    print(text, f"(load {os.getloadavg()[0]:.1f})", flush=True)


async def _apply_schema(url: str) -> None:
    async with open_database(url) as database:
        await database.prepare()


async def _count(url: str) -> None:
    async with open_database(url) as database, database.dedicated(query_timeout=3600) as conn:
        await conn.execute("SET work_mem = '512MB'")
        async with conn.transaction():
            await aggregate_check.count_sizes(conn)
            await aggregate_check.count_flows(conn)


class Keys:
    """The addresses of all vaults, 88 bytes for each: computing one takes as long as ten lines."""

    def __init__(self, planned: Books) -> None:
        self._text = bytearray()
        for number in range(planned.vaults):
            owner, vault = planned.addresses(number)
            self._text += owner.ljust(44).encode() + vault.ljust(44).encode()

    def of(self, number: int) -> tuple[str, str]:
        text = self._text[number * 88 : number * 88 + 88].decode()
        return text[:44].rstrip(), text[44:].rstrip()


def copy_lines(
    connection: psycopg.Connection,
    planned: Books,
    keys: Keys,
    queries: Sequence[str],
    report: Report,
) -> None:
    """Write round after round: each vault's lines are scattered over the whole year.

    `queries` are the first ones, or all, of LINES, EVENT_ROWS and POINTS.
    """
    sums, done, reported = planned.sums(), 0, time.perf_counter()
    for turn in range(planned.rounds):
        having = (number for number in range(planned.vaults) if planned.steps(number) > turn)
        while block := list(itertools.islice(having, BLOCK)):
            lines, events, points = _block(planned, keys, turn, sums[turn + 1], block)
            for query, rows in zip(queries, (lines, events, points), strict=False):
                with connection.cursor().copy(query.encode()) as copy:
                    copy.write("".join(rows))
            done += len(block)
            if time.perf_counter() - reported > REPORT_SECONDS:
                reported = time.perf_counter()
                report(f"{done} of {planned.lines} lines")


def _block(
    planned: Books, keys: Keys, turn: int, held: Sums, block: list[int]
) -> tuple[list[str], list[str], list[str]]:
    """Return the same step of some vaults, after which they hold `held`, for three tables."""
    kind, units = STEPS[turn % len(STEPS)]
    lines, events, points = [], [], []
    name, unlock = EVENTS[kind], planned.unlock_time
    balances = [getattr(held, each) for each in BALANCES]
    knows_balance = kind in (Kind.DEPOSIT, Kind.WITHDRAW)
    for number in block:
        owner, vault = keys.of(number)
        line, unit = planned.line(number, turn), size(number)
        slot, at, sign = planned.slot(line), planned.time(line).isoformat(), signature(line)
        total, available, locked, timelocked, earning = (each * unit for each in balances)
        amount = units * unit
        after = str(total) if knows_balance else r"\N"
        lines.append(
            f"{owner}\t{vault}\t{kind}\t{amount}\t{after}\t{slot}\t{at}\t{sign}\t1\t0\tfinalized\n"
        )
        events.append(
            f'{sign}\t1\t0\t{slot}\t{at}\t{name}\t{vault}\t{owner}\tfinalized\t{{"vault": "{vault}"'
            f', "owner": "{owner}", "amount": {amount}, "unlock_time": {unlock}, '
            f'"new_total_balance": {total}, "new_available_balance": {available}}}\n'
        )
        points.append(
            f"{owner}\t{slot}\t{vault}\t{total}\t{available}\t{locked}\t{timelocked}\t{earning}\t"
            f"{at}\tf\n"
        )
    return lines, events, points


def copy_vaults(connection: psycopg.Connection, planned: Books, keys: Keys, report: Report) -> None:
    reported = time.perf_counter()
    numbers = iter(range(planned.vaults))
    while block := list(itertools.islice(numbers, BLOCK)):
        with connection.cursor().copy(VAULTS.encode()) as copy:
            for number in block:
                row = planned.row(number)
                state = msgspec.json.encode(row.state).decode().replace("\\", "\\\\")
                copy.write(
                    f"{row.owner}\t{row.vault}\t{row.token_account}\t{row.mint}\t{row.total}\t"
                    f"{row.available}\t{row.locked}\t{row.timelocked}\t{row.yield_deposited}\t"
                    f"{row.total_deposited}\t{row.total_withdrawn}\t0\t{{}}\t{state}\t{row.slot}\t"
                    f"{planned.end.isoformat()}\t{row.slot}\n"
                )
        if time.perf_counter() - reported > REPORT_SECONDS:
            reported = time.perf_counter()
            report(f"{block[-1] + 1} of {planned.vaults} vaults")


def drop_indexes(
    connection: psycopg.Connection, tables: Sequence[str]
) -> Iterator[tuple[str, str, str, str]]:
    """Drop the indexes of the large tables, and yield what it takes to build them again."""
    found = connection.execute(DEFINITIONS, {"tables": list(tables)}).fetchall()
    for table, kind, name, definition in found:
        if kind == "CONSTRAINT":
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
            connection.execute(drop.format(sql.Identifier(table), sql.Identifier(name)))
        else:
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
        yield table, kind, name, definition


def restore_index(
    connection: psycopg.Connection, table: str, kind: str, name: str, definition: str
) -> None:
    statement = definition
    if kind == "CONSTRAINT":
        statement = f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
    connection.execute(statement.encode())


if __name__ == "__main__":
    main()
