"""Queries that must not read whole tables, on a generated database of some thousand vaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from bench.vaults.books import books
from bench.vaults.generate import generate
from cvms.config.loader import load_programs
from cvms.store.alerts import alerts, queries
from cvms.store.analytics import aggregate_check, exchange_statement
from cvms.store.messaging import outbox, webhook_deliveries
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.row_mapping import fetch_value
from cvms.store.proofs import leaves
from cvms.store.reconciliation import vault_ledger
from cvms.store.vaults import (
    balance_history,
    balance_snapshots,
    history,
    vault_search,
    yield_policies,
)
from cvms.store.vaults.history import Kind

VAULTS, LINES = 3_000, 15_000
PLANNED = books(VAULTS, LINES, load_programs({}))
FEW = 80
"""Blocks of a query that follows indexes to a few rows."""


async def plan(database: Database, query: str, params: Mapping[str, object]) -> str:
    async with database.connection() as conn:
        rows = await conn.execute(f"EXPLAIN {query}".encode(), params)
        return "\n".join(line for (line,) in await rows.fetchall())


@pytest.fixture
async def generated(empty_database_url: str) -> str:
    await trio.to_thread.run_sync(
        lambda: generate(empty_database_url, PLANNED, report=lambda _: None)
    )
    return empty_database_url


async def blocks(database: Database, query: str, params: Mapping[str, object]) -> int:
    """Return how many blocks of tables and indexes a query reads."""
    async with database.connection() as conn:
        explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}".encode()
        await conn.execute(explained, params)  # loads what is read for the first time
        [(plans,)] = await (await conn.execute(explained, params)).fetchall()
    top = plans[0]["Plan"]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


async def test_large_tables_are_read_by_index(generated: str) -> None:
    async with open_database(generated) as database:
        await database.prepare()
        moved = {"after_slot": 378_000_000, "slot": 378_100_000}
        assert "balance_history_by_slot" in await plan(database, balance_snapshots.MOVED, moved)
        sums = await plan(database, aggregate_check.CHECK, {"kind": ["deposit"], "total": [1]})
        assert "Index Only Scan using vaults_by_balance" in sums
        assert "Seq Scan on vaults " not in sums
        latest = "SELECT owner FROM transactions WHERE slot > %(slot)s"
        assert "transactions_by_slot" in await plan(database, latest, {"slot": PLANNED.head - 9})
        rapid = {"after": LINES - 5, "reached": LINES, "bound": 10}
        assert "Seq Scan on transactions" not in await plan(
            database, queries.RAPID_MOVEMENTS, rapid
        )
        day = {"owner": "somebody", "kind": Kind.WITHDRAW, "time": datetime.now(UTC)}
        assert "Seq Scan" not in await plan(database, history.WITHDRAWN_SINCE, day)
        published = {"owner": "", "signatures": ["one", "other"], "topics": ["balance_update"]}
        assert "outbox_by_signature" in await plan(database, outbox.OF_TRANSACTIONS, published)
        slots = {"first": PLANNED.head - 60, "end": PLANNED.head}
        assert "transactions_by_slot" in await plan(database, exchange_statement.LINES, slots)
        emergencies = await plan(database, exchange_statement.EMERGENCIES, slots)
        assert "transactions_emergencies" in emergencies
        ends = {**slots, "points": 1000}
        assert "balance_history_by_slot" in await plan(database, exchange_statement.CHUNK_END, ends)
        recent = {"since": PLANNED.end, "margin": timedelta(0)}
        first = await plan(database, balance_history.FIRST_SLOT_SINCE, recent)
        assert "balance_history_by_time" in first


MANY = """
INSERT INTO alerts (kind, subject, severity, summary, details, resolved_at)
SELECT 'large_withdrawal', n, 'warning', '', '{}', now()
FROM generate_series(1, 20000) AS n;
INSERT INTO alerts (kind, subject, severity, summary, details)
SELECT 'low_balance', n, 'info', '', '{}'
FROM generate_series(1, 10000) AS n;
INSERT INTO webhook_deliveries (signer, event, body, state, created_at)
SELECT signer, '', '', 'delivered', now() - n * INTERVAL '1 minute'
FROM generate_series(1, 20000) AS n
CROSS JOIN (SELECT signer FROM signer_contacts LIMIT 1) AS contact;
ANALYZE alerts, webhook_deliveries
"""


async def test_filters_that_match_nothing_read_nothing(generated: str) -> None:
    async with open_database(generated) as database:
        await database.prepare()
        async with database.connection() as conn:
            await conn.execute(MANY)
            cursor = await conn.execute("SELECT signer FROM signer_contacts LIMIT 1")
            [(signer,)] = await cursor.fetchall()
        read = {}
        filters: Sequence[tuple[alerts.Filter | None, str | None]] = (
            (None, "critical"),
            ("open", "critical"),
            ("resolved", "critical"),
            ("acknowledged", None),
            ("acknowledged", "info"),
        )
        for state, severity in filters:
            query = alerts.page_query(state, severity, None)
            asked_for = {"severity": severity, "before_id": alerts.MAX_ID, "limit": 100}
            read[f"{severity} alerts that are {state}"] = await blocks(database, query, asked_for)
        for asked in (
            {"state": "given_up"},
            {"state": "pending"},
            {"operators": True},
            {"operators": True, "state": "delivered"},
            {"signer": "nobody"},
            {"signer": signer, "state": "given_up"},
        ):
            nothing = {"state": None, "operators": False, "signer": None, "before": None}
            params: dict[str, Any] = nothing | asked
            query = webhook_deliveries.page_query(**params)
            read[f"deliveries: {asked}"] = await blocks(database, query, params | {"limit": 100})
        whole = {"after": "", "first": "", "end": vault_search.AFTER_BASE58, "limit": 20}
        for closed in (False, True):
            page = whole | {"closed": closed}
            read[f"vaults: {closed}"] = await blocks(database, vault_search.PAGE, page)
        nobody = whole | {"closed": False, "first": "zzzz", "end": "zzzz{"}
        read["vaults of nobody"] = await blocks(database, vault_search.PAGE, nobody)
    assert {what: count for what, count in read.items() if count > FEW} == {}


LONG = """
INSERT INTO transactions (
    owner, vault, kind, amount, slot, block_time, signature, instruction_index, ordinal, commitment
)
SELECT %(owner)s, 'vault', CASE WHEN n > 25000 THEN 'deposit' ELSE 'withdraw' END, 1,
       400000000 + n, now(), 'long ' || n, 0, 0, 'finalized'
FROM generate_series(1, 50000) AS n
UNION ALL
SELECT %(owner)s, 'vault', 'withdraw', 1, 500000000, now(), 'last', 0, 0, 'finalized'
"""


async def test_an_owner_with_a_long_history_costs_what_others_cost(generated: str) -> None:
    owner, _ = PLANNED.addresses(7)
    async with open_database(generated) as database:
        await database.prepare()
        withdrawals = {
            "withdraw": Kind.WITHDRAW,
            "emergency": Kind.EMERGENCY_WITHDRAW,
            "limit": 500,
        }
        async with database.connection() as conn:
            ledger = (await vault_ledger.read(conn, [owner]))[owner]
            await conn.execute(LONG, {"owner": owner})
            await conn.execute("ANALYZE transactions, history_sums")
            sums = (await vault_ledger.read(conn, [owner]))[owner].sums
            cursor = await conn.execute("SELECT max(id) FROM transactions")
            [(newest,)] = await cursor.fetchall()
        assert sums.total == ledger.sums.total - 1
        params = vault_ledger.params_of([owner])
        withdrawals |= {"after": newest - 1, "head": newest}
        assert await blocks(database, vault_ledger.SUMS, params) < FEW
        assert await blocks(database, queries.WITHDRAWALS, withdrawals) < FEW


async def test_what_is_rarely_due_is_not_searched_for(generated: str) -> None:
    async with open_database(generated) as database:
        await database.prepare()
        async with database.connection() as conn:
            await conn.execute(
                "INSERT INTO yield_policies (owner, yield_program, auto_compound, min_amount) "
                "SELECT owner, 'pool', TRUE, 1 FROM vaults"
            )
            await conn.execute("ANALYZE yield_policies")
        none_due = {
            "yield_program": "pool",
            "delegates": ["service"],
            "after": "",
            "limit": 25,
        }
        assert await blocks(database, yield_policies.TO_COMPOUND, none_due) < FEW


async def test_giving_all_vaults_their_keys_is_linear(generated: str) -> None:
    """The table is known to be empty, so whatever is planned for few rows is planned for all."""
    async with open_database(generated) as database:
        await database.prepare()
        assert "Nested Loop" not in await plan(database, leaves.GIVE_KEYS, {})
        async with database.connection() as conn:
            await leaves.give_keys(conn)
            await leaves.give_keys(conn)
            known = await fetch_value(conn, "SELECT count(*) FROM proof_keys", {})
        assert known == VAULTS
