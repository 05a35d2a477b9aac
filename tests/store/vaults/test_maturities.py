"""Maturities follow the vaults' rows forward and back, and are found without a scan."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.migrate import apply_schema
from cvms.store.projection import vault_writer
from cvms.store.submissions import operator_submissions, submissions
from cvms.store.vaults import maturities
from cvms.store.vaults.maturities import NEXT_NOTICE, TO_RELEASE, Maturity
from cvms.store.vaults.vaults import VaultRow
from tests.store.examples import store_vault, vault_row

KIND = "release_timelocks"


def holding(*timelock: tuple[int, int], pending: Any = (), **changes: Any) -> VaultRow:
    """Return a row with timelocks and requests as pairs of amount and time."""
    state = {
        "timelocks": [{"amount": amount, "unlock_time": at} for amount, at in timelock],
        "pending_withdrawals": [
            {"amount": amount, "requested_at": 1, "executable_at": at} for amount, at in pending
        ],
    }
    return vault_row(state=state, **changes)


async def live(conn: Connection) -> list[tuple[str, str, int, int]]:
    """Return owner, kind, amount and time of all live maturities."""
    cursor = await conn.execute(
        "SELECT owner, kind, amount, due_at FROM maturities WHERE live ORDER BY 1, 2, 4, place"
    )
    return [(owner, kind, int(amount), at) for owner, kind, amount, at in await cursor.fetchall()]


async def due(conn: Connection, now: int) -> list[tuple[int, int]]:
    """Claim what is due now; return amounts and times."""
    claimed = await maturities.claim_due(conn, now=now, limit=100)
    return sorted((each.amount, each.due_at) for each in claimed)


async def test_maturities_are_those_of_the_newest_row(database: Database) -> None:
    async with database.transaction() as conn:
        first = holding((5, 100), (5, 100), (7, 200), pending=[(9, 100)], slot=1)
        await vault_writer.advance(conn, [first])
        assert await live(conn) == [
            ("owner", "timelock", 5, 100),
            ("owner", "timelock", 5, 100),
            ("owner", "timelock", 7, 200),
            ("owner", "withdrawal", 9, 100),
        ]
        await vault_writer.advance(conn, [holding((7, 200), (1, 300), slot=3)])
        await vault_writer.advance(conn, [holding((6, 600), slot=2)])
        assert await live(conn) == [("owner", "timelock", 7, 200), ("owner", "timelock", 1, 300)]
        await vault_writer.advance(conn, [vault_row(state={"closed": True}, slot=4)])
        assert await live(conn) == []


async def test_maturities_follow_a_row_that_goes_back_without_a_second_notice(
    database: Database,
) -> None:
    async with database.transaction() as conn:
        await store_vault(conn, holding((5, 100), slot=1))
        assert await due(conn, 100) == [(5, 100)]
        await store_vault(conn, holding(slot=2))
        assert await live(conn) == []
        await conn.execute("UPDATE vaults SET slot = 0")
        await store_vault(conn, holding((5, 100), slot=1))
        assert await live(conn) == [("owner", "timelock", 5, 100)]
        assert await due(conn, 100) == []
        await conn.execute("DELETE FROM vaults")
        assert await live(conn) == []


async def test_any_amount_and_any_time_can_be_requested(database: Database) -> None:
    pending = [(2**64 - 1, 2**63 - 1)]
    async with database.transaction() as conn:
        await store_vault(conn, holding(pending=pending))
        assert await live(conn) == [("owner", "withdrawal", 2**64 - 1, 2**63 - 1)]
        assert await due(conn, 2**63 - 1) == pending


async def test_a_partly_used_request_has_no_second_notice(database: Database) -> None:
    async with database.transaction() as conn:
        await store_vault(conn, holding(pending=[(9, 100), (8, 100)], slot=1))
        assert await due(conn, 100) == [(8, 100), (9, 100)]
        await store_vault(conn, holding(pending=[(3, 100), (8, 100)], slot=2))
        await store_vault(conn, holding(pending=[(8, 100)], slot=3))
        assert await due(conn, 100) == []


async def test_due_soon_is_claimed_once_and_not_for_what_is_due(database: Database) -> None:
    async with database.transaction() as conn:
        await store_vault(conn, holding((1, 90), (2, 100), (3, 160), (4, 161), pending=[(5, 95)]))

        async def soon(now: int) -> list[Maturity]:
            return await maturities.claim_due_soon(conn, now=now, notice=60, limit=100)

        assert await maturities.next_notice(conn, notice=60) == 30
        assert sorted(each.amount for each in await soon(100)) == [3]
        assert await soon(100) == []
        assert await due(conn, 100) == [(1, 90), (2, 100), (5, 95)]
        assert await maturities.next_notice(conn, notice=60) == 101
        assert [each.amount for each in await soon(101)] == [4]
        assert await maturities.next_notice(conn, notice=60) == 160
        assert await due(conn, 161) == [(3, 160), (4, 161)]
        assert await maturities.next_notice(conn, notice=60) is None


async def test_concurrent_claims_share_the_work(database: Database) -> None:
    rows = [holding((n, 100), owner=f"o{n}", vault=f"v{n}") for n in range(1, 7)]
    async with database.transaction() as conn:
        await vault_writer.advance(conn, rows)
    async with database.transaction() as one, database.transaction() as other:
        first = await maturities.claim_due(one, now=100, limit=4)
        second = await maturities.claim_due(other, now=100, limit=4)
    assert sorted(each.amount for each in [*first, *second]) == [1, 2, 3, 4, 5, 6]


async def test_a_vault_with_a_release_in_flight_is_not_released_again(
    database: Database,
) -> None:
    rows = [holding((1, n), owner=f"o{n}", vault=f"v{n}") for n in range(1, 5)]
    async with database.transaction() as conn:
        await vault_writer.advance(conn, rows)
        await record(conn, 1, "operator", owners=["o1", "o2"])
        await record(conn, 2, "o3")
        await record(conn, 3, "o4", kind="compound_yield")

        async def free(aside: Any = ()) -> list[str]:
            return await maturities.to_release(conn, kind=KIND, now=9, limit=9, deferred=aside)

        for state in ("pending", "submitted", "confirmed"):
            await conn.execute("UPDATE submissions SET state = %s", [state])
            assert await free() == ["o4"]
            assert not await operator_submissions.has_no_pending(conn, KIND, ["o2", "o4"])
            assert not await operator_submissions.has_no_pending(conn, KIND, ["o3"])
            assert await operator_submissions.has_no_pending(conn, KIND, ["o4"])
        assert await free({"o4"}) == []
        for state in ("finalized", "failed", "expired", "quarantined"):
            await conn.execute("UPDATE submissions SET state = %s", [state])
            assert await free() == ["o1", "o2", "o3", "o4"]
        assert await operator_submissions.count_pending(conn, KIND) == 0


async def test_a_request_for_a_release_finds_the_pending_one(database: Database) -> None:
    async with database.transaction() as conn:
        await record(conn, 1, "operator", owners=["o1", "o2"])
        found = await submissions.find_pending(conn, KIND, "o2")
        assert found is not None
        assert found.signature == "signature 1"
        assert await submissions.find_pending(conn, KIND, "o3") is None


async def test_the_next_maturity_is_found_in_an_index(database: Database) -> None:
    """Among many claimed long ago, and many due much later."""
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO maturities (owner, kind, due_at, place, vault, amount, told_at) "
            "SELECT 'o' || n, 'withdrawal', n, 1, 'v', 1, now() FROM generate_series(1, 5000) AS n"
        )
        await conn.execute(
            "INSERT INTO maturities (owner, kind, due_at, place, vault, amount) "
            "SELECT 'o' || n, 'timelock', 90000 + n, 1, 'v', 1 FROM generate_series(1, 5000) AS n"
        )
        await conn.execute("ANALYZE maturities")
        params = {"now": 1, "notice": 60, "limit": 9, "except": [], "kind": KIND}
        for query in (NEXT_NOTICE, TO_RELEASE):
            cursor = await conn.execute(b"EXPLAIN " + query.encode(), params)
            plan = "\n".join(line for (line,) in await cursor.fetchall())
            assert "Seq Scan on maturities" not in plan, plan


async def test_what_left_its_vault_long_ago_is_pruned(database: Database) -> None:
    async with database.connection() as conn:
        await store_vault(conn, holding((5, 100), (6, 200), slot=1))
        await store_vault(conn, holding((6, 200), slot=2))
        await conn.execute("UPDATE maturities SET changed_at = now() - interval '8 days'")
        assert await maturities.prune(conn, timedelta(days=7)) == 1
        assert await live(conn) == [("owner", "timelock", 6, 200)]


async def test_migrating_an_older_database_adds_the_maturities_of_its_vaults(
    database: Database,
) -> None:
    async with database.transaction() as conn:
        rows = [
            holding((5, 100), (5, 100), pending=[(9, 100)]),
            vault_row(owner="closed", vault="gone", state={"closed": True}),
        ]
        await vault_writer.advance(conn, rows)
        before = await live(conn)
        await conn.execute(b"DROP TABLE maturities")
        await conn.execute(b"DELETE FROM schema_migrations WHERE name LIKE 'what falls due%'")
        await apply_schema(conn)
        assert await live(conn) == before
        assert len(before) == 3


async def record(
    conn: Connection, number: int, owner: str, *, kind: str = KIND, owners: Any = ()
) -> None:
    await submissions.record_signed(
        conn,
        message_hash=bytes([number] * 32),
        kind=kind,
        owner=owner,
        message=b"m",
        signature=f"signature {number}",
        wire=b"w",
        last_valid_block_height=1,
        since_slot=1,
        owners=owners,
    )
