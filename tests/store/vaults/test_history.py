"""Pages that are read together are those that each request would get alone."""

from __future__ import annotations

from cvms.store.postgres.database import Database
from cvms.store.vaults import history
from cvms.store.vaults.history import PageRequest
from tests.store.examples import history_row

OWNERS = ("alice", "bob", "carol")
KINDS = ("deposit", "withdraw", "lock")


async def test_pages_that_are_read_together_equal_those_read_alone(database: Database) -> None:
    async with database.connection() as conn:
        lines = [
            history_row(owner=OWNERS[n % 3], kind=KINDS[n % 7 % 3], ordinal=n, slot=100 - n // 5)
            for n in range(60)
        ]
        await history.add(conn, lines)
        removed = (await history.page(conn, "alice", limit=20))[7:9]
        await history.remove(conn, removed)
        cursors = [line.id for line in await history.page(conn, "bob", limit=100)]
        requests = [
            PageRequest(owner=owner, limit=limit, before_id=before_id, kind=kind)
            for owner in (*OWNERS, "nobody")
            for limit in (1, 7, 100)
            for before_id in (None, *(line.id for line in removed), *cursors[:3], 1, 10**9)
            for kind in (None, *KINDS)
        ]
        alone = [
            await history.page(
                conn, each.owner, limit=each.limit, before_id=each.before_id, kind=each.kind
            )
            for each in requests
        ]
        assert await history.pages(conn, requests) == alone
        assert len({len(page) for page in alone}) > 5
        for request, page in zip(requests, alone, strict=True):
            assert await history.pages(conn, [request]) == [page]
        assert await history.pages(conn, [requests[0], requests[0]]) == [alone[0], alone[0]]


async def test_a_row_is_read_as_it_was_stored(database: Database) -> None:
    line = history_row(balance_after=None, block_time=None, amount=2**63 - 1)
    async with database.connection() as conn:
        await history.add(conn, [line])
        [stored] = await history.page(conn, "owner", limit=1)
        assert stored == history_row(
            balance_after=None, block_time=None, amount=2**63 - 1, id=stored.id
        )
        assert stored.id is not None
