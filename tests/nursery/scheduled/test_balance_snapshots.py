"""Every hour is written once, whichever replicas run, and agrees with the history."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
import trio

from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.scheduled.balance_snapshots import SnapshotWriter, next_hour
from cvms.store.index import cursor
from cvms.store.index.cursor import Cursor
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import balance_history, balance_snapshots
from cvms.store.vaults.balance_history import BalancePoint
from tests.store.examples import store_vault, vault_row

PROGRAM = "program"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def writer(database: Database, *, behind: bool = False) -> SnapshotWriter:
    board = StatusBoard()
    board.set_component("indexer", ok=not behind, detail="")
    return SnapshotWriter(database=database, program=PROGRAM, max_lag_slots=50, board=board)


def point(owner: str, slot: int, total: int, at: datetime | None) -> BalancePoint:
    return BalancePoint(
        owner=owner,
        slot=slot,
        vault=f"vault of {owner}",
        total=total,
        available=total,
        locked=0,
        timelocked=0,
        yield_deposited=0,
        block_time=at,
        observed=at is None,
    )


async def database_time(database: Database) -> datetime:
    async with database.connection() as conn:
        found = await conn.execute("SELECT now()")
        [now] = await found.fetchone() or []
    moment: datetime = now
    return moment


def start_of_hour(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


async def index(database: Database, *points: BalancePoint) -> None:
    """Write points as the indexer does, up to the last of them."""
    async with database.transaction() as conn:
        for owner in sorted({each.owner for each in points}):
            await store_vault(conn, vault_row(owner=owner, vault=f"vault of {owner}", slot=1))
        await balance_history.put(conn, points)
        last = max(each.slot for each in points)
        await cursor.advance(conn, Cursor(PROGRAM, last, f"sig {last}"))
        await cursor.reach(conn, PROGRAM, last)


AS_OF_EACH_HOUR = """
SELECT hour.at, row.total
FROM tvl_snapshots AS hour
CROSS JOIN LATERAL (
    SELECT total
    FROM balance_snapshots
    WHERE owner = %s
      AND at <= hour.at
    ORDER BY at DESC
    LIMIT 1
) AS row
WHERE row.total > 0
ORDER BY hour.at
"""


async def of_owner(database: Database, owner: str) -> list[tuple[datetime, int]]:
    """Return the balance at each hour in which the vault is not empty."""
    async with database.connection() as conn:
        rows = await conn.execute(AS_OF_EACH_HOUR, [owner])
        return await rows.fetchall()


async def rows_of(database: Database, owner: str) -> list[tuple[datetime, int]]:
    query = "SELECT at, total FROM balance_snapshots WHERE owner = %s ORDER BY at"
    async with database.connection() as conn:
        rows = await conn.execute(query, [owner])
        return await rows.fetchall()


def midnight_before(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


async def write_all(database: Database) -> None:
    while await writer(database).run_once():
        pass


async def of_all(database: Database) -> list[tuple[datetime, int]]:
    async with database.connection() as conn:
        rows = await conn.execute("SELECT at, total FROM tvl_snapshots ORDER BY at")
        return await rows.fetchall()


async def test_missed_hours_are_filled_from_history_and_written_once_by_two_replicas(
    database: Database, database_url: str
) -> None:
    start = start_of_hour(await database_time(database)) - 5 * HOUR
    await index(
        database,
        point("alice", 10, 100, start + HOUR / 2),
        point("bob", 10, 7, start + HOUR / 2),
        # In the last slot before the hour, and in its first slot.
        point("alice", 20, 150, start + HOUR - timedelta(seconds=1)),
        point("alice", 21, 30, start + HOUR),
        point("bob", 25, 0, start + 2 * HOUR + HOUR / 2),
        point("alice", 26, 31, None),  # observed in the account, without an event
        point("alice", 30, 40, start + 4 * HOUR - HOUR / 4),
    )
    async with open_database(database_url) as other:
        await other.prepare()
        async with trio.open_nursery() as nursery:
            for each in (database, other, database, other):
                nursery.start_soon(writer(each).run_once)
    expected = [150, 30, 31, 40]
    alice, everybody = await of_owner(database, "alice"), await of_all(database)
    assert alice[:4] == [(start + (n + 1) * HOUR, total) for n, total in enumerate(expected)]
    assert await of_owner(database, "bob") == [(start + HOUR, 7), (start + 2 * HOUR, 7)]
    assert [total for _, total in everybody][:4] == [157, 37, 31, 40]
    assert len(everybody) == len(alice)
    assert await writer(database).run_once() == 0
    assert (await of_owner(database, "alice"), await of_all(database)) == (alice, everybody)


async def test_an_hour_is_not_written_before_all_of_it_is_indexed(database: Database) -> None:
    start = start_of_hour(await database_time(database)) - 3 * HOUR
    await index(database, point("alice", 10, 100, start))
    assert await writer(database, behind=True).run_once() == 0
    assert await of_all(database) == []
    # By the chain's clock the hour has just ended, so its last events may not be indexed yet.
    await index(database, point("alice", 11, 100, start))
    async with database.connection() as conn:
        await cursor.saw(conn, PROGRAM, start_of_hour(await database_time(database)) + 9 * HOUR)
    assert await writer(database).run_once() == 3 + 8
    async with database.connection() as conn:
        ahead = start_of_hour(await database_time(database)) + 9 * HOUR + timedelta(seconds=110)
        await cursor.saw(conn, PROGRAM, ahead)
    assert await writer(database).run_once() == 1


async def test_without_a_vault_there_is_nothing_to_write(database: Database) -> None:
    assert await writer(database).run_once() == 0


async def test_killed_within_an_hour_it_writes_the_whole_hour_afterwards(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = start_of_hour(await database_time(database)) - 2 * HOUR
    await index(database, point("alice", 10, 100, start), point("bob", 10, 5, start))
    real = balance_snapshots.write

    async def killed(conn: Connection, at: datetime, *, complete: bool) -> bool:
        await real(conn, at, complete=complete)
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(balance_snapshots, "write", killed)
        with pytest.raises(RuntimeError, match="killed"):
            await writer(database).run_once()
    assert await of_all(database) == []
    await writer(database).run_once()
    assert (await of_all(database))[0] == (start + HOUR, 105)


async def test_only_midnights_are_kept_forever(database: Database) -> None:
    midnight = midnight_before(await database_time(database))
    start = midnight - 93 * DAY - HOUR
    await index(database, point("alice", 10, 100, start))
    await write_all(database)
    times = [at for at, _ in await of_owner(database, "alice")]
    old = [at for at in times if at < midnight - 91 * DAY]
    assert old == [midnight - 93 * DAY, midnight - 92 * DAY]
    hours = [at for at in times if at >= midnight - 89 * DAY]
    assert all(later - before == HOUR for before, later in itertools.pairwise(hours))
    async with database.connection() as conn:
        await conn.execute("UPDATE balance_snapshots SET at = at - INTERVAL '88 days'")
        await conn.execute("UPDATE tvl_snapshots SET at = at - INTERVAL '88 days'")
        await balance_snapshots.prune(conn, timedelta(days=90))
    kept = [at for at, _ in await of_owner(database, "alice")]
    assert [at for at, _ in await of_all(database)] == kept
    now = await database_time(database)
    assert all(at.astimezone(UTC).hour == 0 for at in kept if at < now - 90 * DAY)
    assert len([at for at in kept if at >= now - 90 * DAY]) > 24


async def test_a_vault_has_a_row_only_where_it_has_changed(database: Database) -> None:
    midnight = midnight_before(await database_time(database))
    start = midnight - 2 * DAY - 2 * HOUR
    await index(
        database,
        point("alice", 10, 100, start),
        point("bob", 11, 5, start),
        point("carol", 12, 0, None),
        point("bob", 20, 6, midnight - DAY + HOUR),
        point("bob", 30, 0, midnight - DAY + 3 * HOUR),
        point("dave", 40, 1, midnight - HOUR),
    )
    await write_all(database)
    assert await rows_of(database, "alice") == [
        (start + HOUR, 100),
        (midnight - 2 * DAY, 100),  # it has moved on this day, and on no other one
    ]
    assert await rows_of(database, "bob") == [
        (start + HOUR, 5),
        (midnight - 2 * DAY, 5),
        (midnight - DAY + 2 * HOUR, 6),
        (midnight - DAY + 4 * HOUR, 0),
        (midnight, 0),
    ]
    assert await rows_of(database, "carol") == []
    totals = dict(await of_all(database))
    assert totals[midnight - DAY] == 105
    assert totals[midnight - DAY + 2 * HOUR] == 106
    assert totals[midnight - DAY + 4 * HOUR] == 100
    assert totals[midnight] == 101


async def test_what_is_corrected_later_is_in_the_next_midnight(database: Database) -> None:
    now = await database_time(database)
    midnight = midnight_before(now)
    start = midnight - DAY - HOUR
    await index(database, point("alice", 10, 100, start), point("bob", 20, 1, start + 2 * HOUR))
    async with database.transaction() as conn:
        await balance_snapshots.write(conn, start + HOUR, complete=True)
        await balance_history.rewrite(conn, "alice", [point("alice", 10, 90, start)])
        await balance_snapshots.write(conn, start + 3 * HOUR, complete=False)
    assert await of_all(database) == [(start + HOUR, 100), (start + 3 * HOUR, 101)]
    await write_all(database)
    assert dict(await of_all(database))[midnight] == 91
    assert (midnight, 90) in await rows_of(database, "alice")


async def test_the_first_snapshot_of_changes_closes_what_was_written_in_full(
    database: Database,
) -> None:
    """Of the hours before, a vault without a row was empty."""
    midnight = midnight_before(await database_time(database))
    start = midnight - 10 * HOUR
    await index(
        database,
        point("alice", 10, 100, start),
        point("bob", 11, 5, start),
        point("bob", 12, 0, start),
    )
    async with database.transaction() as conn:
        for owner, total in (("alice", 100), ("bob", 5)):
            await conn.execute(
                "INSERT INTO balance_snapshots VALUES (%s, %s, 'v', %s, %s, 0, 0, 0, 11)",
                [owner, start, total, total],
            )
        await conn.execute(
            "INSERT INTO tvl_snapshots VALUES (%s, 1, 100, 100, 0, 0, 0, 12)", [start + HOUR]
        )
        await conn.execute("UPDATE snapshot_head SET at = %s", [start + HOUR])
    await write_all(database)
    assert await rows_of(database, "bob") == [(start, 5), (start + 2 * HOUR, 0), (midnight, 0)]
    assert await rows_of(database, "alice") == [(start, 100), (midnight, 100)]
    assert [total for _, total in await of_all(database)][:2] == [100, 100]


def test_the_next_hour_is_a_midnight_where_hours_are_not_kept() -> None:
    now = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
    kept = datetime(2026, 3, 3, 13, tzinfo=UTC)  # 90 days before, up to the hour
    assert next_hour(now - HOUR, now=now) == now - HOUR + HOUR
    assert next_hour(kept - 1 * HOUR, now=now) == kept
    assert next_hour(kept - 2 * HOUR, now=now) == kept
    assert (
        next_hour(kept - 14 * HOUR, now=now) == kept - 13 * HOUR == datetime(2026, 3, 3, tzinfo=UTC)
    )
    assert next_hour(datetime(2025, 1, 1, tzinfo=UTC), now=now) == datetime(2025, 1, 2, tzinfo=UTC)
