"""The books as the database holds them at one moment, read as they are: every row, every column."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

Row = dict[str, Any]
Books = dict[str, list[Row]]

# In which order the rows of a table tell their story.
ORDER = {
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


def read_books(connection: psycopg.Connection[Any]) -> Books:
    """Every table that says something about the chain or about what clients asked for.

    Call it in a transaction, in which it also sees what that has changed.
    """
    books: Books = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for table, order in ORDER.items():
            rows = sql.SQL("SELECT * FROM {} ORDER BY {}").format(
                sql.Identifier(table), sql.SQL(order)
            )
            books[table] = cursor.execute(rows).fetchall()
    return books
