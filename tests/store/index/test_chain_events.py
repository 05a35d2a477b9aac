"""Events and history: delivered at least once, stored exactly once."""

from __future__ import annotations

import psycopg
import pytest
import trio

from cvms.store.analytics import event_counters
from cvms.store.index import chain_events, cursor
from cvms.store.index.cursor import Cursor
from cvms.store.postgres.database import Database
from cvms.store.vaults import history
from tests.store.examples import event_row, history_row


async def test_only_new_events_are_returned_in_their_order(database: Database) -> None:
    first, second, third = (event_row(ordinal=n) for n in (2, 0, 1))
    async with database.connection() as conn:
        assert await chain_events.record(conn, []) == []
        assert await chain_events.record(conn, [first]) == [first]
        assert await chain_events.record(conn, [third, first, second, third]) == [third, second]
        assert await chain_events.record(conn, [first, second, third]) == []


async def test_events_without_a_vault_or_a_time_are_recorded_too(database: Database) -> None:
    row = event_row(vault=None, owner=None, block_time=None, name="FreezeFlagSetEvent")
    async with database.connection() as conn:
        assert await chain_events.record(conn, [row]) == [row]


async def test_an_event_recorded_concurrently_is_new_to_one_caller(database: Database) -> None:
    new: list[chain_events.EventRow] = []

    async def deliver() -> None:
        async with database.transaction() as conn:
            new.extend(await chain_events.record(conn, [event_row(), event_row(ordinal=1)]))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(deliver)
    assert sorted(row.ordinal for row in new) == [0, 1]


async def test_an_event_of_a_rolled_back_transaction_is_new_again(database: Database) -> None:
    with trio.CancelScope() as scope:
        async with database.transaction() as conn:
            await chain_events.record(conn, [event_row()])
            scope.cancel()
    async with database.connection() as conn:
        assert await chain_events.record(conn, [event_row()]) == [event_row()]


async def test_history_is_newest_first_and_added_once(database: Database) -> None:
    rows = [history_row(ordinal=n, amount=n) for n in range(10)]
    async with database.connection() as conn:
        await history.add(conn, [])
        await history.add(conn, rows)
        await history.add(conn, rows)
        page = await history.page(conn, "owner", limit=100)
    assert [row.amount for row in page] == list(reversed(range(10)))


async def test_history_pages_by_cursor_and_by_offset_agree(database: Database) -> None:
    kinds = ["deposit", "withdraw", "lock"]
    rows = [history_row(ordinal=n, kind=kinds[n % 3]) for n in range(30)]
    async with database.connection() as conn:
        await history.add(conn, [*rows, history_row(owner="other")])
        everything = await history.page(conn, "owner", limit=100)
        assert len(everything) == 30
        by_offset = [
            await history.page(conn, "owner", limit=7, offset=offset) for offset in range(0, 30, 7)
        ]
        assert [row for page in by_offset for row in page] == everything
        by_cursor: list[history.HistoryRow] = []
        while page := await history.page(
            conn, "owner", limit=7, before_id=by_cursor[-1].id if by_cursor else None
        ):
            by_cursor += page
        assert by_cursor == everything
        deposits = await history.page(conn, "owner", limit=100, kind="deposit")
        assert deposits == [row for row in everything if row.kind == "deposit"]


async def test_a_kind_without_an_effect_is_refused(database: Database) -> None:
    async with database.connection() as conn:
        with pytest.raises(psycopg.errors.CheckViolation):
            await history.add(conn, [history_row(kind="withdrawal")])


async def test_counters_add_up_from_many_writers(database: Database) -> None:
    async def count() -> None:
        for _ in range(5):
            async with database.transaction() as conn:
                await event_counters.add(conn, "deposit", 1, 10)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(count)
    async with database.connection() as conn:
        await event_counters.add(conn, "withdraw", 0, 0)
        assert await event_counters.read(conn) == {"deposit": (50, 500), "withdraw": (0, 0)}


async def test_the_cursor_never_moves_back(database: Database) -> None:
    here, later, earlier = (Cursor("program", slot, f"at {slot}", "before") for slot in (5, 6, 4))
    async with database.connection() as conn:
        assert await cursor.get(conn, "program") is None
        assert await cursor.advance(conn, here)
        assert await cursor.advance(conn, later)
        assert not await cursor.advance(conn, earlier)
        assert await cursor.get(conn, "program") == later
        same_slot = Cursor("program", 6, "another of slot 6", "at 6")
        assert await cursor.advance(conn, same_slot)
        assert await cursor.get(conn, "program") == same_slot
