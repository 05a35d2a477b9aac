"""The database that reads are measured on: vaults, and a history for some of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import trio
from solders.pubkey import Pubkey

from cvms.dev.postgres import embedded_postgres
from cvms.store.postgres.database import open_database

VAULTS = 60_000
WITH_HISTORY = 1_000
LINES = 20

FILL_VAULTS = """
INSERT INTO vaults (
    owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
    total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot
)
SELECT owner, 'v' || owner, 't' || owner, 'mint', number * 10, number * 9, number, 0, 0,
       number * 10, 0, 0, '{}', '{}', number
FROM unnest(%(owners)s::TEXT[]) WITH ORDINALITY AS vault (owner, number)
"""
FILL_LINES = """
INSERT INTO transactions (
    owner, vault, kind, amount, balance_after, slot, block_time, signature, instruction_index,
    ordinal, commitment
)
SELECT owner, 'v' || owner, 'deposit', 1, line, line, now(), 's' || owner || line, 0, 0, 'finalized'
FROM unnest(%(owners)s::TEXT[]) AS vault (owner)
CROSS JOIN generate_series(1, %(lines)s) AS line
"""


@contextmanager
def filled_database(
    folder: Path, *, vaults: int = VAULTS, lines: int = LINES
) -> Iterator[tuple[str, list[str]]]:
    """Run a database, and yield its URL and the owners of its vaults."""
    owners = [str(Pubkey.new_unique()) for _ in range(vaults)]

    async def prepare() -> None:
        async with open_database(url) as found:
            await found.prepare()

    with embedded_postgres(folder / "data") as url:
        trio.run(prepare)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL_VAULTS, {"owners": owners})
            connection.execute(FILL_LINES, {"owners": owners[:WITH_HISTORY], "lines": lines})
            connection.execute("VACUUM ANALYZE")
        yield url, owners
