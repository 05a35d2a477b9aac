"""The aggregates always equal the sums of their source rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cvms.nursery.ledger.running_balances import extend_running_balances
from cvms.store.analytics import aggregates
from cvms.store.analytics.aggregates import Bucket, Holdings, Size
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.migrate import apply_schema
from cvms.store.projection import vault_writer
from cvms.store.vaults import balance_history, history
from cvms.store.vaults.history import EFFECTS, HistoryRow
from cvms.store.vaults.vaults import VaultRow
from tests.store.examples import BLOCK_TIME, history_row, vault_row

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
MANY = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
WRITTEN = (
    "transactions",
    "flows",
    "tvl_hours",
    "vaults",
    "vault_sizes",
    "balance_history",
    "maturities",
)
"""The tables that the examples write to."""

# Block times mostly increase, but one may be missing, and nothing relies on their order.
times = st.one_of(
    st.none(),
    st.integers(min_value=0, max_value=100 * 3600).map(lambda s: FIRST + timedelta(seconds=s)),
)
lines = st.lists(
    st.tuples(
        st.sampled_from(sorted(EFFECTS)), st.integers(min_value=0, max_value=2**63 - 1), times
    ),
    max_size=30,
)
rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d"]),
        st.one_of(st.integers(0, 12), st.integers(0, 2**40), st.just(2**63 - 1)),
        st.integers(min_value=0, max_value=9),
        st.booleans(),
    ),
    max_size=20,
)


@MANY
@given(movements=lines, batch=st.integers(min_value=1, max_value=7))
def test_flows_and_the_series_match_the_history(
    database_url: str, movements: list[tuple[str, int, datetime | None]], batch: int
) -> None:
    found = [
        history_row(ordinal=number, kind=kind, amount=amount, block_time=at)
        for number, (kind, amount, at) in enumerate(movements)
    ]
    if found and found[0].block_time is None:
        found[0] = history_row(kind=found[0].kind, amount=found[0].amount, block_time=FIRST)

    async def check(database: Database) -> None:
        for first in range(0, len(found), batch):
            async with database.transaction() as conn:
                await history.add(conn, found[first : first + batch])
                await aggregates.count(conn, found[first : first + batch])
        async with database.connection() as conn:
            stored = await recorded(conn)
            await agree(conn, stored)

    run(database_url, check)


@MANY
@given(changes=rows, batch=st.integers(min_value=1, max_value=4))
def test_holdings_and_sizes_match_the_open_vaults(
    database_url: str, changes: list[tuple[str, int, int, bool]], batch: int
) -> None:
    async def check(database: Database) -> None:
        for first in range(0, len(changes), batch):
            distinct = {each[0]: each for each in changes[first : first + batch]}
            async with database.transaction() as conn:
                await vault_writer.advance(conn, [row_of(*each) for each in distinct.values()])
        async with database.connection() as conn:
            cursor = await conn.execute(
                b"SELECT total, available, locked, timelocked, yield_deposited FROM vaults"
                b" WHERE state <> '{\"closed\": true}'"
            )
            held = await cursor.fetchall()
            sums = [sum(row[column] for row in held) for column in range(5)]
            funded = sum(row[0] > 0 for row in held)
            assert await aggregates.holdings(conn) == Holdings(len(held), *[*sums, funded])
            sizes = [each for each in await aggregates.sizes(conn) if each.vaults or each.total]
            expected: dict[int, Size] = {}
            for total, *_ in held:
                digits = len(str(total)) if total else 0
                before = expected.get(digits, Size(digits, 0, 0))
                expected[digits] = Size(digits, before.vaults + 1, before.total + total)
            assert sizes == [expected[digits] for digits in sorted(expected)]

    run(database_url, check)


async def test_a_late_line_changes_every_hour_after_it(database: Database) -> None:
    async with database.transaction() as conn:
        for number, hour in enumerate((3, 5, 4)):
            await aggregates.count(conn, [line(number, "deposit", 10, FIRST + hour * HOUR)])
        points = await aggregates.series(
            conn, since=FIRST + 2 * HOUR, until=FIRST + 7 * HOUR, bucket="hour"
        )
    assert [each.tvl for each in points] == [0, 10, 20, 30, 30]


async def test_what_was_counted_can_be_uncounted(database: Database) -> None:
    both = [vault_row(owner="a", vault="va"), vault_row(owner="b", vault="vb")]
    async with database.transaction() as conn:
        stored = await vault_writer.advance(conn, both)
        await aggregates.moved(
            conn, [(after, vault_row(state={"closed": True})) for _, after in stored]
        )
        assert await aggregates.holdings(conn) == Holdings(0, 0, 0, 0, 0, 0, 0)


async def test_migrating_an_older_database_gives_the_same_aggregates(
    database: Database,
) -> None:
    """The migration computes the sums and points that the indexer would have."""
    lines = [
        line(0, "deposit", 1_000, FIRST),
        line(1, "lock", 600, FIRST + HOUR),
        line(2, "timelock", 100, None),
        line(3, "yield_deposit", 200, FIRST + 2 * HOUR),
        line(4, "yield_compound", 7, FIRST + 2 * HOUR),
        line(5, "emergency_withdraw", 150, FIRST + 30 * HOUR),  # 50 of it were locked
        line(6, "unlock", 50, None),
        line(7, "transfer_out", 20, FIRST + 31 * HOUR),
        line(8, "timelock_release", 100, FIRST + 31 * HOUR),
        line(9, "withdraw", 5, FIRST + 32 * HOUR),
        line(10, "yield_withdraw", 9, FIRST + 33 * HOUR),
        line(11, "transfer_in", 3, FIRST + 33 * HOUR),
    ]
    tables = ("flows", "tvl_hours", "vault_sizes", "balance_history")
    async with database.transaction() as conn:
        await history.add(conn, lines)
        await aggregates.count(conn, lines)
        await balance_history.put(conn, extend_running_balances([], lines))
        last = await balance_history.at(conn, "owner", 99)
        assert last is not None
        row = vault_row(
            **{name: getattr(last, name) for name in ("total", "available", "locked")},
            timelocked=last.timelocked,
            yield_deposited=last.yield_deposited,
            slot=last.slot,
        )
        await vault_writer.advance(conn, [row])
        await conn.execute(
            b"INSERT INTO chain_events (signature, instruction_index, ordinal, slot, name,"
            b" commitment, data) VALUES ('signature', 0, 5, 5, 'EmergencyWithdrawEvent',"
            b" 'confirmed', '{\"new_locked_balance\": 550}')"
        )
        before = [await everything(conn, table) for table in tables]
        assert (last.total, last.locked, last.available) == (835, 500, 137)
        for table in tables:
            await conn.execute(f"DROP TABLE {table}".encode())
        await conn.execute(b"DELETE FROM schema_migrations WHERE name LIKE 'vaults in any order%'")
        await conn.execute(b"DELETE FROM schema_migrations WHERE name LIKE 'what analytics%'")
        await apply_schema(conn)
        assert [await everything(conn, table) for table in tables] == before


# --- helpers -----------------------------------------------------------------------------------


def line(number: int, kind: str, amount: int, at: datetime | None) -> HistoryRow:
    return history_row(ordinal=number, slot=number, kind=kind, amount=amount, block_time=at)


def row_of(owner: str, total: int, slot: int, closed: bool) -> VaultRow:
    total = 0 if closed else total
    locked = total // 3
    return vault_row(
        owner=owner,
        vault=f"of {owner}",
        total=total,
        available=total - locked,
        locked=locked,
        timelocked=0,
        yield_deposited=0,
        state={"closed": True} if closed else {},
        slot=slot,
    )


async def recorded(conn: Connection) -> list[tuple[str, int, datetime]]:
    """Return kind, amount and time of every row; one without a time gets the newest so far."""
    cursor = await conn.execute(b"SELECT kind, amount, block_time FROM transactions ORDER BY id")
    newest = BLOCK_TIME - 10_000 * DAY
    timed = []
    for kind, amount, at in await cursor.fetchall():
        newest = max(newest, at or newest)
        timed.append((kind, amount, at or newest))
    return timed


async def agree(conn: Connection, stored: Sequence[tuple[str, int, datetime]]) -> None:
    """Compare the series and the flows with these rows, hour by hour and day by day."""
    until = FIRST + 120 * HOUR
    buckets: tuple[tuple[Bucket, timedelta], ...] = (("hour", HOUR), ("day", DAY))
    for bucket, step in buckets:
        points = await aggregates.series(conn, since=FIRST, until=until, bucket=bucket)
        grown = [(EFFECTS[kind].total * amount, at) for kind, amount, at in stored]
        assert [(each.start, each.tvl) for each in points] == [
            (start, sum(growth for growth, at in grown if at < start + step))
            for start in steps(until, step)
        ]
        counts: Counter[Any] = Counter()
        amounts: Counter[Any] = Counter()
        for kind, amount, at in stored:
            start = FIRST + (at - FIRST) // step * step
            counts[start] += 1
            amounts[start, kind] += amount
        flows = await aggregates.flows(conn, since=FIRST, until=until, bucket=bucket)
        assert {each.start: each.count for each in flows} == counts
        assert {
            (each.start, kind): amount for each in flows for kind, amount in each.amounts.items()
        } == dict(amounts)


def steps(until: datetime, step: timedelta) -> Iterable[datetime]:
    start = FIRST
    while start < until:
        yield start
        start += step


async def everything(conn: Connection, table: str) -> list[Any]:
    cursor = await conn.execute(f"SELECT * FROM {table}".encode())
    return sorted(await cursor.fetchall(), key=repr)


def run(database_url: str, check: Any) -> None:
    """Run `check` on empty tables: hypothesis gives all of its examples the same database."""

    async def main() -> None:
        async with open_database(database_url) as database:
            await database.prepare()
            async with database.transaction() as conn:
                for table in WRITTEN:
                    await conn.execute(f"DELETE FROM {table}".encode())
            await check(database)

    trio.run(main)
