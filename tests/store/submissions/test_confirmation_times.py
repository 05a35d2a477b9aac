"""How long submissions took counts from their signature to the first confirmed block."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_value
from cvms.store.submissions import confirmation_times, in_flight
from cvms.store.submissions.in_flight import StateChange
from cvms.store.submissions.submissions import State
from tests.store.submissions.test_submissions import sign

CONFIRMED_AT = "SELECT confirmed_at FROM submissions WHERE signature = %(signature)s"
EARLIER = "UPDATE submissions SET signed_at = now() - INTERVAL '20 s'"
BACK = "UPDATE submissions SET confirmed_at = confirmed_at - INTERVAL '5 s'"


async def change(conn: Connection, state: State, slot: int | None = None) -> None:
    [row] = await in_flight.read(conn)
    assert await in_flight.apply_changes(conn, [StateChange(row, state, slot=slot)])


async def confirmed_at(conn: Connection, signature: str) -> datetime | None:
    found: datetime | None = await fetch_value(conn, CONFIRMED_AT, {"signature": signature})
    return found


async def test_a_fork_does_not_move_the_first_confirmation(database: Database) -> None:
    async with database.connection() as conn:
        await sign(conn)
        await conn.execute(EARLIER)
        await change(conn, State.SUBMITTED)
        assert await confirmed_at(conn, "signature") is None
        await change(conn, State.CONFIRMED, slot=5)
        await conn.execute(BACK)
        first = await confirmed_at(conn, "signature")
        await change(conn, State.SUBMITTED)
        await change(conn, State.CONFIRMED, slot=6)
        await change(conn, State.FINALIZED, slot=6)
        assert first is not None
        assert await confirmed_at(conn, "signature") == first

        hour = timedelta(hours=1)
        since = datetime.now(UTC) - hour
        found = await confirmation_times.percentiles(
            conn, since=since, until=since + 2 * hour, step=hour
        )
    assert [each.p95 for each in found] == [pytest.approx(15, abs=1), None]


async def test_what_fails_is_never_confirmed(database: Database) -> None:
    async with database.connection() as conn:
        await sign(conn)
        await change(conn, State.FAILED, slot=5)
        assert await confirmed_at(conn, "signature") is None
