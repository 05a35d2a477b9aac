"""Queries that many requests make at the same moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import trio

from cvms.store.postgres.batcher import MAX_QUERIES, Batcher
from cvms.store.postgres.database import Database
from cvms.store.security import nonces
from cvms.store.security.nonces import NewNonce
from cvms.store.vaults import history, vaults
from cvms.store.vaults.history import HistoryRow, PageRequest
from cvms.store.vaults.vaults import VaultRow

# A page has up to 100 rows, each of which takes two microseconds: no task waits for long.
PAGES = 8
ROWS = 64


@dataclass(frozen=True, slots=True)
class BatchedQueries:
    """What many clients ask for: the row of an owner's vault, a page of a history, a nonce."""

    vault_rows: Batcher[str, VaultRow | None]
    history_pages: Batcher[PageRequest, list[HistoryRow]]
    nonces: Batcher[NewNonce, datetime]


def start_batched_queries(database: Database, tasks: trio.Nursery) -> BatchedQueries:
    """Return the queries, which are answered until the tasks that are started here end."""
    queries = BatchedQueries(
        vault_rows=Batcher(database, vaults.get_many, size=ROWS),
        history_pages=Batcher(database, history.pages, size=PAGES),
        nonces=Batcher(database, nonces.issue, size=ROWS),
    )
    for run in (queries.vault_rows.run, queries.history_pages.run, queries.nonces.run):
        for _ in range(MAX_QUERIES):
            tasks.start_soon(run)
    return queries
