"""Statements add up and join, whatever happened, and however they are cut."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cvms.nursery.ledger.running_balances import extend_running_balances, running_balances
from cvms.store.index import applied_transactions
from cvms.store.index import cursor as cursors
from cvms.store.index.applied_transactions import AppliedTransaction
from cvms.store.index.cursor import Cursor
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import balance_history, history, statements
from cvms.store.vaults.history import Balances, HistoryRow, Kind, change_of
from cvms.store.vaults.statements import (
    CORRECTION,
    FORK_SLOTS,
    FinalFrontier,
    Interval,
    Part,
    StatementLine,
)
from tests.store.examples import history_row, vault_row

START = datetime(2026, 3, 1, tzinfo=UTC)
EVERYTHING = 10_000
OWNERS = ("one", "other")
NUMBERS = itertools.count()

amounts = st.integers(0, 2**40)
kinds = st.sampled_from([kind for kind in Kind if not kind.startswith("transfer")])
owners = st.sampled_from(OWNERS)
gaps = st.integers(0, 3)
actions = st.one_of(
    st.tuples(st.just("move"), owners, kinds, amounts, gaps, st.booleans()),
    st.tuples(st.just("transfer"), owners, amounts, gaps),
    st.tuples(st.just("late"), owners, kinds, amounts, st.integers(0, 12)),
    st.tuples(st.just("observe"), owners, st.integers(-50, 50)),
    st.tuples(st.just("fork"), st.integers(0, 4)),
)


@dataclass
class Books:
    """Two vaults' history and points, as the indexer, the reindexer and forks write them."""

    conn: Connection
    prefix: str
    slot: int = 10
    number: int = 0
    observed: set[str] = field(default_factory=set)

    async def move(self, owner: str, kind: str, amount: int, gap: int, timed: bool) -> None:
        self.slot += gap
        await self._apply([self._line(owner, kind, amount, self.slot, timed=timed)])

    async def transfer(self, sender: str, amount: int, gap: int) -> None:
        self.slot += gap
        [receiver] = {*OWNERS} - {sender}
        out = self._line(sender, Kind.TRANSFER_OUT, amount, self.slot)
        into = self._line(receiver, Kind.TRANSFER_IN, amount, self.slot)
        await self._apply([out, into])

    async def late(self, owner: str, kind: str, amount: int, back: int) -> None:
        """Add a line that the log did not show, and compute all points again."""
        line = self._line(owner, kind, amount, max(self.slot - back, 0))
        await history.add(self.conn, [line])
        lines = await history.in_order(self.conn, line.owner)
        await balance_history.rewrite(self.conn, line.owner, running_balances(lines))
        self.observed.discard(owner)

    async def observe(self, owner: str, extra: int) -> None:
        """Read an account that holds more, or less, than the events say."""
        known = await balance_history.at(self.conn, self.prefix + owner, self.slot)
        held = statements.balances_of(known)
        account = vault_row(
            owner=self.prefix + owner,
            vault=f"{self.prefix}vault of {owner}",
            slot=self.slot,
            total=held.total + extra,
            available=held.available + extra,
            locked=held.locked,
            timelocked=held.timelocked,
            yield_deposited=held.yield_deposited,
        )
        await balance_history.observe(self.conn, [account])
        self.observed.add(owner)

    async def fork(self, back: int) -> None:
        self.slot = max(self.slot - back, 0)
        for owner in OWNERS:
            lines = await history.in_order(self.conn, self.prefix + owner)
            await history.remove(self.conn, [line for line in lines if line.slot > self.slot])
        names = [self.prefix + owner for owner in OWNERS]
        await balance_history.forget_after(self.conn, names, self.slot)

    async def _apply(self, lines: Sequence[HistoryRow]) -> None:
        await history.add(self.conn, lines)
        known = await balance_history.since(self.conn, {line.owner: line.slot for line in lines})
        await balance_history.put(self.conn, extend_running_balances(known, lines))

    def _line(
        self, owner: str, kind: str, amount: int, slot: int, *, timed: bool = True
    ) -> HistoryRow:
        self.number += 1
        return history_row(
            owner=self.prefix + owner,
            vault=f"{self.prefix}vault of {owner}",
            kind=kind,
            amount=amount,
            slot=slot,
            block_time=START + timedelta(seconds=slot) if timed else None,
            signature=f"{self.prefix}{self.number}",
            commitment="finalized",
        )


@given(
    st.lists(actions, max_size=25),
    st.lists(st.integers(0, 90), max_size=6),
    st.integers(1, 7),
)
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_history_in_any_parts_adds_up(
    database_url: str, planned: list[Any], cuts: list[int], size: int
) -> None:
    async def check() -> None:
        async with open_database(database_url) as database:
            database.schema_ready = True
            async with database.transaction() as conn:
                books = Books(conn, f"{next(NUMBERS)} ")
                for name, *arguments in planned:
                    await getattr(books, name)(*arguments)
                for owner in OWNERS:
                    await check_owner(books, owner, sorted({0, 100, *cuts}), size)

    trio.run(check)


async def check_owner(books: Books, owner: str, bounds: list[int], size: int) -> None:
    conn, name = books.conn, books.prefix + owner
    [whole] = await parts(conn, name, Interval(0, 100, complete=True), EVERYTHING)
    assert whole.opening == Balances()
    moved = [line for line in whole.lines if line.kind != CORRECTION]
    assert [(line.slot, line.kind, line.amount, line.signature) for line in moved] == [
        (row.slot, row.kind, row.amount, row.signature)
        for row in await history.in_order(conn, name)
    ]
    if owner not in books.observed:
        assert len(moved) == len(whole.lines)
    pieces = []
    for first, end in itertools.pairwise(bounds):
        pieces += await parts(conn, name, Interval(first, end, complete=True), size)
    assert [line for piece in pieces for line in piece.lines] == whole.lines
    for before, after in itertools.pairwise(pieces):
        assert (before.end, before.closing) == (after.first, after.opening)
    for piece in pieces:
        adds_up(piece)
        last = await balance_history.at(conn, name, piece.end - 1)
        assert piece.closing == statements.balances_of(last)


async def parts(conn: Connection, owner: str, slots: Interval, size: int) -> list[Part]:
    found = [await statements.first_part(conn, owner, slots, size=size)]
    while (
        part := await statements.next_part(conn, owner, slots, found[-1], size=size)
    ) is not None:
        found.append(part)
    return found


def adds_up(part: Part) -> None:
    now = part.opening
    for line in part.lines:
        assert part.first <= line.slot < part.end
        now = now.plus(line.change)
        assert now == line.balances
    assert now == part.closing


def test_what_an_account_shows_is_a_line_of_its_own() -> None:
    rows = [history_row(slot=5, amount=10), history_row(slot=7, amount=2)]
    points = [(5, Balances(10, 10)), (6, Balances(15, 15)), (7, Balances(17, 17))]
    lines = list(statements.add_up(Balances(), rows, points))
    assert [(line.slot, line.kind, line.change.total) for line in lines] == [
        (5, "deposit", 10),
        (6, CORRECTION, 5),
        (7, "deposit", 2),
    ]
    assert correction_of(lines).signature is None
    assert correction_of(lines).amount == 5


def test_an_emergency_takes_what_is_locked_last() -> None:
    change = change_of(Kind.EMERGENCY_WITHDRAW, 10, available=7)
    assert change == Balances(total=-10, available=-7, locked=-3)
    assert change_of(Kind.EMERGENCY_WITHDRAW, 7, available=7) == Balances(-7, -7)


def correction_of(lines: list[StatementLine]) -> StatementLine:
    [correction] = [line for line in lines if line.kind == CORRECTION]
    return correction


# --- up to where ---------------------------------------------------------------------------------

PROGRAM = "program"


async def frontier(database: Database, *applied: tuple[int, bool], through: int) -> FinalFrontier:
    """Return the frontier after these transactions, given as slots and whether they are final."""
    async with database.transaction() as conn:
        rows = [
            AppliedTransaction(slot=slot, signature=f"{next(NUMBERS)}", final=final)
            for slot, final in applied
        ]
        await applied_transactions.add(conn, rows)
        await cursors.advance(conn, Cursor(PROGRAM, through, "last"))
        await cursors.reach(conn, PROGRAM, through)
        return await statements.final_frontier(conn, PROGRAM)


async def test_nothing_is_final_before_the_first_transaction(database: Database) -> None:
    async with database.connection() as conn:
        empty = await statements.final_frontier(conn, PROGRAM)
        assert empty == FinalFrontier(-1, settled=True, indexed_until=None)
        assert await statements.interval(conn, empty, since=None, until=None) == Interval(
            0, 0, True
        )


async def test_it_is_the_last_final_transaction_before_one_that_is_not(database: Database) -> None:
    found = await frontier(database, (5, True), (9, True), (12, False), (14, True), through=15)
    assert (found.slot, found.settled) == (9, False)


async def test_a_slot_that_is_partly_final_does_not_count(database: Database) -> None:
    found = await frontier(database, (5, True), (9, True), (9, False), through=9)
    assert (found.slot, found.settled) == (5, False)


async def test_a_quiet_chain_becomes_final_with_its_slots(database: Database) -> None:
    found = await frontier(database, (5, True), through=5 + FORK_SLOTS)
    assert (found.slot, found.settled) == (5, True)
    found = await frontier(database, (5, True), through=90 + FORK_SLOTS)
    assert (found.slot, found.settled) == (90, True)
    found = await frontier(database, (70, False), through=90 + FORK_SLOTS)
    assert (found.slot, found.settled) == (69, False)


async def test_a_time_is_the_slot_of_the_first_movement_from_then_on(database: Database) -> None:
    async with database.transaction() as conn:
        books = Books(conn, "")
        for slot, timed in ((20, True), (30, False), (40, True)):
            books.slot = slot
            await books.move("one", Kind.DEPOSIT, 1, 0, timed)
        known = FinalFrontier(40, settled=True, indexed_until=START + timedelta(hours=1))

        async def between(since: int, until: int) -> Interval:
            first, end = (START + timedelta(seconds=seconds) for seconds in (since, until))
            return await statements.interval(conn, known, since=first, until=end)

        assert await between(0, 20) == Interval(20, 20, complete=True)
        assert await between(0, 21) == Interval(20, 40, complete=True)
        assert await between(21, 40) == Interval(40, 40, complete=True)
        assert await between(21, 41) == Interval(40, 41, complete=True)
        assert await between(41, 3600) == Interval(41, 41, complete=True)
        assert await between(41, 3601) == Interval(41, 41, complete=False)
        beyond = await statements.interval(conn, known, since=None, until=50)
        assert beyond == Interval(0, 41, complete=False)
        known = FinalFrontier(39, settled=False, indexed_until=START + timedelta(hours=1))
        assert await between(21, 40) == Interval(40, 40, complete=True)
        assert await between(20, 41) == Interval(20, 40, complete=False)
        assert await between(20, 3600) == Interval(20, 40, complete=False)
