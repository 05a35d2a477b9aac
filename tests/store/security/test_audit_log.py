"""The audit trail detects every later change."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log, audit_verification


async def record(conn: Connection, **changes: Any) -> int:
    fields: dict[str, Any] = {
        "actor": "owner",
        "action": "withdraw",
        "owner": "owner",
        "outcome": "built",
        "details": {"amount": 400},
    }
    return await audit_log.record(conn, **{**fields, **changes})


async def verify(database: Database) -> int | None:
    async with database.connection() as conn:
        return (await audit_verification.verify(conn)).broken


async def append(database: Database, count: int) -> None:
    async with database.transaction() as conn:
        for number in range(count):
            await record(conn, details={"number": number})


async def test_an_empty_trail_and_an_untouched_one_verify(database: Database) -> None:
    assert await verify(database) is None
    await append(database, 5)
    assert await verify(database) is None


async def test_the_chain_does_not_fork_under_concurrency(database: Database) -> None:
    ids: list[int] = []

    async def write() -> None:
        for _ in range(5):
            async with database.transaction() as conn:
                ids.append(await record(conn))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(write)
    assert sorted(ids) == list(range(1, 101))
    assert await verify(database) is None


async def test_a_rolled_back_entry_leaves_no_gap(database: Database) -> None:
    await append(database, 2)
    with trio.CancelScope() as scope:
        async with database.transaction() as conn:
            await record(conn)
            scope.cancel()
    await append(database, 1)
    assert await verify(database) is None


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("UPDATE audit_logs SET outcome = 'refused' WHERE id = 3", 3),
        ("UPDATE audit_logs SET actor = 'nobody' WHERE id = 1", 1),
        ("UPDATE audit_logs SET at = at + INTERVAL '1 microsecond' WHERE id = 2", 2),
        ("UPDATE audit_logs SET owner = NULL WHERE id = 5", 5),
        ("""UPDATE audit_logs SET details = '{"number": 9}' WHERE id = 4""", 4),
        ("UPDATE audit_logs SET details = '1e999' WHERE id = 4", 4),
        ("""UPDATE audit_logs SET details = '"\\ud800"' WHERE id = 4""", 4),
        ("UPDATE audit_logs SET at = 'infinity' WHERE id = 5", 5),
        ("UPDATE audit_logs SET at = '-infinity' WHERE id = 3", 3),
        ("UPDATE audit_logs SET at = '20000-01-01' WHERE id = 3", 3),
        ("UPDATE audit_logs SET hash = decode(repeat('00', 32), 'hex') WHERE id = 4", 4),
        ("DELETE FROM audit_logs WHERE id = 2", 2),
        ("DELETE FROM audit_logs WHERE id = 1", 1),
        ("DELETE FROM audit_logs WHERE id = 5", 5),
        ("DELETE FROM audit_logs", 1),
        ("UPDATE audit_logs SET id = id + 10 WHERE id = 5", 5),
    ],
)
async def test_tampering_is_found_at_the_first_affected_entry(
    database: Database, tampering: str, broken: int
) -> None:
    await append(database, 5)
    async with database.connection() as conn:
        await conn.execute(tampering.encode())
    assert await verify(database) == broken


async def test_the_hashes_can_be_computed_from_the_docstring_of_the_module(
    database: Database,
) -> None:
    await append(database, 3)
    async with database.connection() as conn:
        rows = await audit_log.page(conn, limit=10)
    previous = bytes(32)
    for row in reversed(rows):
        text = json.dumps(
            {
                "action": row.action,
                "actor": row.actor,
                "at": row.at.isoformat(),
                "details": row.details,
                "id": row.id,
                "outcome": row.outcome,
                "owner": row.owner,
            },
            separators=(",", ":"),
            ensure_ascii=False,
        )
        previous = hashlib.sha256(previous + text.encode()).digest()
        assert row.hash == previous


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3)
    ),
    max_leaves=8,
)


@given(details=st.dictionaries(st.text(), JSON, max_size=3))
def test_the_canonical_text_survives_being_stored_and_read(details: dict[str, Any]) -> None:
    stored = audit_log._canonical(details)
    assert audit_log._canonical(json.loads(stored)) == stored


async def test_awkward_details_verify_after_the_round_trip(database: Database) -> None:
    awkward = {
        "float": 1e22,
        "small": 1e-7,
        "big": 2**200,
        "text": 'π\u2028"\\\n',
        "z": [1.0, None],
    }
    async with database.connection() as conn:
        await record(conn, details=awkward)
        assert (await audit_log.page(conn, limit=1))[0].details == awkward
    assert await verify(database) is None


async def test_pages_can_be_filtered_by_owner_or_action(database: Database) -> None:
    async with database.connection() as conn:
        for owner, action in (("a", "deposit"), ("b", "deposit"), ("a", "withdraw")):
            await record(conn, owner=owner, action=action)
        assert [row.id for row in await audit_log.page(conn, limit=9, owner="a")] == [3, 1]
        assert [row.id for row in await audit_log.page(conn, limit=9, action="deposit")] == [2, 1]
        assert [row.id for row in await audit_log.page(conn, limit=2)] == [3, 2]
        assert [row.id for row in await audit_log.page(conn, limit=2, before_id=2)] == [1]


async def test_a_long_trail_is_verified_part_by_part(database: Database) -> None:
    count = audit_verification.ROWS_AT_ONCE + 1
    await append(database, count)
    assert await verify(database) is None
    async with database.connection() as conn:
        await conn.execute("UPDATE audit_logs SET outcome = 'x' WHERE id = %s", [count])
    assert await verify(database) == count
