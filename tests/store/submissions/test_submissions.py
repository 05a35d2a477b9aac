"""The states of a submission change in one direction, once."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
import trio

from cvms.errors import Conflict, UnknownTransaction
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import in_flight, submissions
from cvms.store.submissions.in_flight import InFlight, StateChange
from cvms.store.submissions.submissions import State, Submission

HASH = bytes(range(32))


async def build(conn: Connection, message_hash: bytes = HASH) -> Submission:
    return await submissions.record_built(
        conn,
        message_hash=message_hash,
        kind="deposit",
        owner="owner",
        message=b"message",
        last_valid_block_height=150,
        since_slot=1,
        amount=1000,
    )


async def sign(conn: Connection, signature: str = "signature", wire: bytes = b"wire") -> Submission:
    return await submissions.record_signed(
        conn,
        message_hash=signature.encode().ljust(32),
        kind="withdraw",
        owner="owner",
        message=b"message",
        signature=signature,
        wire=wire,
        last_valid_block_height=150,
        since_slot=1,
        amount=400,
    )


async def test_a_wallets_signature_makes_a_built_transaction_pending(database: Database) -> None:
    async with database.connection() as conn:
        built = await build(conn)
        assert (built.state, built.signature, built.wire) == (State.BUILT, None, None)
        pending = await submissions.attach_signature(
            conn, message_hash=HASH, signature="signature", wire=b"wire"
        )
        assert (pending.state, pending.signature, pending.wire) == (
            State.PENDING,
            "signature",
            b"wire",
        )
        assert await submissions.get_by_signature(conn, "signature") == pending
        assert await submissions.get_by_message(conn, HASH) == pending


async def test_the_same_bytes_again_change_nothing(database: Database) -> None:
    async with database.connection() as conn:
        await build(conn)
        same = {"message_hash": HASH, "signature": "signature", "wire": b"wire"}
        await submissions.attach_signature(conn, **same)  # type: ignore[arg-type]
        await in_flight.apply_changes(
            conn, [StateChange(await read(conn), State.CONFIRMED, slot=7)]
        )
        again = await submissions.attach_signature(conn, **same)  # type: ignore[arg-type]
        assert (again.state, again.slot) == (State.CONFIRMED, 7)


async def test_other_bytes_for_the_same_message_are_a_conflict(database: Database) -> None:
    async with database.connection() as conn:
        await build(conn)
        await submissions.attach_signature(conn, message_hash=HASH, signature="one", wire=b"one")
        with pytest.raises(Conflict):
            await submissions.attach_signature(
                conn, message_hash=HASH, signature="two", wire=b"two"
            )


async def test_a_message_that_was_not_built_here_is_unknown(database: Database) -> None:
    async with database.connection() as conn:
        with pytest.raises(UnknownTransaction):
            await submissions.attach_signature(
                conn, message_hash=HASH, signature="signature", wire=b"wire"
            )


async def test_of_many_concurrent_submissions_with_different_bytes_one_wins(
    database: Database,
) -> None:
    async with database.connection() as conn:
        await build(conn)
    won: list[str] = []

    async def attach(number: int) -> None:
        signature = f"signature {number}"
        try:
            async with database.transaction() as conn:
                await submissions.attach_signature(
                    conn, message_hash=HASH, signature=signature, wire=b"wire"
                )
        except Conflict:
            return
        won.append(signature)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(attach, number)
    async with database.connection() as conn:
        stored = await submissions.get_by_message(conn, HASH)
    assert stored is not None
    assert won == [stored.signature]


async def test_a_changed_transaction_is_stored_for_one_of_two_equal_plans(
    database: Database,
) -> None:
    plans = [HASH, HASH[::-1]]
    async with database.connection() as conn:
        for plan in plans:
            await build(conn, plan)
    stored: list[bytes] = []

    async def attach(plan: bytes) -> None:
        async with database.transaction() as conn:
            row = await submissions.attach_signature(
                conn,
                message_hash=plan,
                signature="one",
                wire=b"one",
                last_valid_block_height=290,
            )
            assert (row.state, row.last_valid_block_height) == (State.PENDING, 290)
            stored.append(row.message_hash)

    async with trio.open_nursery() as nursery:
        for plan in plans * 5:
            nursery.start_soon(attach, plan)
    assert len(stored) == 10
    assert len(set(stored)) == 1


async def test_plans_are_found_by_owner_and_data_beside_what_was_submitted(
    database: Database,
) -> None:
    async with database.connection() as conn:
        await build(conn)
        signatures = bytes([2]) + bytes(2 * 64)
        other = await sign(conn, "other", wire=signatures + b"changed message")
        asked: dict[str, Any] = {
            "owners": ["nobody", "owner"],
            "data": b"essa",
            "submitted": hashlib.sha256(b"changed message").digest(),
        }
        found = await submissions.get_plans(conn, **asked)
        assert {each.message_hash for each in found} == {other.message_hash, HASH}
        for changes in ({"owners": ["nobody"]}, {"data": b"sage!"}):
            assert await submissions.get_plans(conn, **(asked | changes)) == [other]
        await submissions.attach_signature(conn, message_hash=HASH, signature="one", wire=b"one")
        await conn.execute("UPDATE submissions SET created_at = now() - INTERVAL '11 minutes'")
        assert await submissions.get_plans(conn, **(asked | {"submitted": HASH})) == []


async def test_built_twice_is_one_row_until_it_is_signed(database: Database) -> None:
    async with database.connection() as conn:
        await build(conn)
        assert (await build(conn)).state is State.BUILT
        await submissions.attach_signature(conn, message_hash=HASH, signature="one", wire=b"one")
        with pytest.raises(Conflict):
            await build(conn)


async def test_one_message_cannot_be_signed_for_two_requests(database: Database) -> None:
    """Both would be the same transaction on chain, and one of them would have no effect."""
    async with database.connection() as conn:
        await sign(conn)
        with pytest.raises(Conflict):
            await sign(conn)


async def read(conn: Connection, signature: str = "signature") -> InFlight:
    (row,) = [each for each in await in_flight.read(conn) if each.signature == signature]
    return row


async def test_many_changes_are_applied_at_once(database: Database) -> None:
    async with database.connection() as conn:
        for n in range(4):
            await sign(conn, f"signature {n}")
        rows = await in_flight.read(conn)
        changes = [
            StateChange(rows[3], State.CONFIRMED, slot=7),
            StateChange(rows[0], State.SUBMITTED),
            StateChange(rows[2], State.SUBMITTED, slot=6, error={"name": "Overflow"}),
        ]
        assert await in_flight.apply_changes(conn, changes) == changes
        found = [(row.state, row.slot) for row in await in_flight.read(conn)]
        failing = await submissions.get_by_signature(conn, "signature 2")
    assert found == [
        (State.SUBMITTED, None),
        (State.PENDING, None),
        (State.SUBMITTED, 6),
        (State.CONFIRMED, 7),
    ]
    assert failing is not None
    assert failing.error == {"name": "Overflow"}


async def test_a_change_is_made_only_while_its_row_is_as_it_was_read(database: Database) -> None:
    async with database.connection() as conn:
        await sign(conn)
        early = await read(conn)
        assert await in_flight.apply_changes(conn, [StateChange(early, State.CONFIRMED, slot=5)])
        assert not await in_flight.apply_changes(conn, [StateChange(early, State.SUBMITTED)])
        assert not await in_flight.apply_changes(conn, [StateChange(early, State.EXPIRED)])
        at_five = await read(conn)
        assert await in_flight.apply_changes(conn, [StateChange(at_five, State.CONFIRMED, slot=6)])
        assert not await in_flight.apply_changes(
            conn, [StateChange(at_five, State.FINALIZED, slot=5)]
        )
        assert (await read(conn)).slot == 6


@pytest.mark.parametrize("end", [State.FAILED, State.EXPIRED, State.QUARANTINED, State.FINALIZED])
async def test_a_terminal_state_never_changes(database: Database, end: State) -> None:
    async with database.connection() as conn:
        await sign(conn)
        row = await read(conn)
        assert await in_flight.apply_changes(
            conn, [StateChange(row, end, error={"name": "Overflow"})]
        )
        for state in State:
            assert not await in_flight.apply_changes(conn, [StateChange(row, state)])
        assert await in_flight.read(conn) == []
        stored = await submissions.get_by_signature(conn, "signature")
    assert stored is not None
    assert (stored.state, stored.error) == (end, {"name": "Overflow"})


async def test_a_fork_resets_the_slot_and_keeps_the_slot_where_it_was_seen(
    database: Database,
) -> None:
    async with database.connection() as conn:
        await sign(conn)
        await in_flight.apply_changes(
            conn, [StateChange(await read(conn), State.CONFIRMED, slot=5)]
        )
        await in_flight.apply_changes(conn, [StateChange(await read(conn), State.SUBMITTED)])
        back = await read(conn)
    assert (back.state, back.slot, back.seen_slot) == (State.SUBMITTED, None, 5)


async def test_many_writers_of_the_same_rows_change_each_once(database: Database) -> None:
    """In any order of the rows, without a deadlock."""
    async with database.connection() as conn:
        for n in range(40):
            await sign(conn, f"signature {n}")
        rows = await in_flight.read(conn)
    made: list[StateChange] = []

    async def write(number: int) -> None:
        changes = [StateChange(row, State.SUBMITTED) for row in rows[:: (-1) ** number]]
        async with database.transaction() as conn:
            made.extend(await in_flight.apply_changes(conn, changes))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(write, number)
    assert sorted(each.row.signature for each in made) == sorted(row.signature for row in rows)


async def test_a_restart_reads_what_is_in_flight_oldest_first(database: Database) -> None:
    async with database.connection() as conn:
        await build(conn)
        for n in range(5):
            await sign(conn, f"signature {n}")
        rows = await in_flight.read(conn)
        await in_flight.apply_changes(
            conn,
            [
                StateChange(rows[1], State.SUBMITTED),
                StateChange(rows[2], State.CONFIRMED, slot=5),
                StateChange(rows[3], State.FINALIZED, slot=5),
                StateChange(rows[4], State.QUARANTINED),
            ],
        )
        found = await in_flight.read(conn, limit=3)
        census = {each.state: each.count for each in await in_flight.count_by_state(conn)}
        wires = await in_flight.wires(conn, ["signature 1", "nobody"])
    assert [row.signature for row in found] == ["signature 0", "signature 1", "signature 2"]
    assert census == {"pending": 1, "submitted": 1, "confirmed": 1, "quarantined": 1}
    assert wires == {"signature 1": b"wire"}


async def test_only_what_was_never_signed_is_pruned(database: Database) -> None:
    async with database.connection() as conn:
        await build(conn)
        await sign(conn)
        await conn.execute("UPDATE submissions SET created_at = now() - INTERVAL '2 hours'")
        await build(conn, bytes(32))
        assert await submissions.prune_built(conn, timedelta(hours=1)) == 1
        assert await submissions.get_by_message(conn, HASH) is None
        assert await submissions.get_by_signature(conn, "signature") is not None
