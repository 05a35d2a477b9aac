"""Tables that the indexer writes, compared with those of a fresh index of the same chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any

from cvms.store.postgres.database import Database, open_database
from tests.nursery.world import World
from tests.postgres_server import new_database

# Without columns that depend on when something was read: ids, times, slots of accounts.
TABLES = {
    "chain_events": """
        SELECT signature, instruction_index, ordinal, slot, block_time, name, vault, owner, data
        FROM chain_events
        ORDER BY signature, instruction_index, ordinal
    """,
    "transactions": """
        SELECT owner, vault, kind, amount, balance_after, slot, block_time, signature,
               instruction_index, ordinal
        FROM transactions
        ORDER BY id
    """,
    "event_totals": "SELECT kind, count, amount FROM event_totals ORDER BY kind",
    "account_offsets": "SELECT owner, deposited, withdrawn FROM account_offsets ORDER BY owner",
    "vault_mints": "SELECT vault, owner, ours FROM vault_mints ORDER BY vault",
    "flows": "SELECT bucket, start, kind, count, amount FROM flows ORDER BY bucket, start, kind",
    "tvl_hours": "SELECT hour, tvl FROM tvl_hours ORDER BY hour",
    "vault_sizes": """
        SELECT digits, vaults, total, available, locked, timelocked, yield_deposited
        FROM vault_sizes
        WHERE vaults <> 0
        ORDER BY digits
    """,
    "vaults": """
        SELECT owner, vault, token_account, mint, total, available, locked, timelocked,
               yield_deposited, total_deposited, total_withdrawn, multisig_threshold, delegates,
               state
        FROM vaults
        ORDER BY owner
    """,
    "indexer_cursor": "SELECT program, slot, signature FROM indexer_cursor",
}

POINTS = """
SELECT owner, slot, total, available, locked, timelocked, yield_deposited
FROM balance_history
ORDER BY owner, slot
"""


async def read_tables(database: Database) -> dict[str, list[Any]]:
    """Return the rows of each table; of `balance_history`, the slots at which balances change."""
    found = {}
    async with database.connection() as conn:
        for table, query in TABLES.items():
            found[table] = await (await conn.execute(query.encode())).fetchall()
        points = await (await conn.execute(POINTS.encode())).fetchall()
    found["balance_history"] = [
        (owner, change)
        for owner, owned in groupby(points, key=lambda point: point[0])
        for change in _changes([point[1:] for point in owned])
    ]
    return found


def _changes(points: list[Any]) -> list[Any]:
    before: Any = (0, 0, 0, 0, 0)
    changes = []
    for slot, *amounts in points:
        if tuple(amounts) != before:
            before = tuple(amounts)
            changes.append((slot, before))
    return changes


@asynccontextmanager
async def empty_database(server: str) -> AsyncIterator[Database]:
    """Open another database on the test's server, with the schema and no rows."""
    with new_database(server) as uri:
        async with open_database(uri) as database:
            await database.prepare()
            yield database


async def _fresh_tables(world: World, server: str) -> dict[str, list[Any]]:
    """Return the tables of an index that begins now, on an empty database."""
    async with empty_database(server) as database:
        fresh = world.with_resources(database=database)
        assert await fresh.indexer().catch_up()
        return await read_tables(database)


async def differing_tables(world: World, server: str) -> dict[str, Any]:
    """Return each table that differs from that of a fresh index, with the rows of both."""
    ours, fresh = await read_tables(world.database), await _fresh_tables(world, server)
    return {name: (ours[name], fresh[name]) for name in ours if ours[name] != fresh[name]}
