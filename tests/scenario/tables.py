"""The contents of the database: every row and column of its tables at one moment."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

Row = dict[str, Any]
Tables = dict[str, list[Row]]

# The order in which the rows of each table are compared.
TABLES = {
    "audit_head": "id",
    "audit_logs": "id",
    "account_offsets": "owner",
    "applied": "place",
    "applied_before": "place, kind, key",
    "balance_history": "owner, slot",
    "chain_events": "slot, signature, instruction_index, ordinal",
    "event_totals": "kind",
    "flows": "bucket, start, kind",
    "idempotency_keys": "owner, key",
    "indexer_cursor": "program",
    "nonces": "nonce",
    "outbox": "position",
    "outbox_head": "position",
    "outbox_topics": "topic",
    "reconciliation_logs": "id",
    "submissions": "created_at",
    "transactions": "slot, id",
    "tvl_hours": "hour",
    "vault_mints": "vault",
    "vault_sizes": "digits",
    "vaults": "owner",
}


def read_tables(connection: psycopg.Connection[Any]) -> Tables:
    """Read every table about the chain or about requests of clients.

    Call it in a transaction. It sees the changes of that transaction.
    """
    tables: Tables = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for table, order in TABLES.items():
            rows = sql.SQL("SELECT * FROM {} ORDER BY {}").format(
                sql.Identifier(table), sql.SQL(order)
            )
            tables[table] = cursor.execute(rows).fetchall()
    return tables
