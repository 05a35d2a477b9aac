"""Queries that many requests make at the same moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import trio

from cvms.store.postgres.batcher import Batcher
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


@asynccontextmanager
async def open_batched_queries(database: Database) -> AsyncIterator[BatchedQueries]:
    """Yield the queries, which are answered until the end of the block."""
    vault_rows = Batcher(database, vaults.get_many, size=ROWS)
    history_pages = Batcher(database, history.pages, size=PAGES)
    new_nonces = Batcher(database, nonces.issue, size=ROWS)
    async with trio.open_nursery() as nursery:
        for batcher in (vault_rows, history_pages, new_nonces):
            nursery.start_soon(batcher.run)
        yield BatchedQueries(vault_rows, history_pages, new_nonces)
        nursery.cancel_scope.cancel()
