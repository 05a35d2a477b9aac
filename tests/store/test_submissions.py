"""A transaction that the service built goes one way, once."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
import trio

from cvms.errors import Conflict, UnknownTransaction
from cvms.store import submissions
from cvms.store.connection import Connection
from cvms.store.database import Database
from cvms.store.submissions import State, Submission

HASH = bytes(range(32))


async def build(conn: Connection, message_hash: bytes = HASH) -> Submission:
    return await submissions.record_built(
        conn,
        message_hash=message_hash,
        kind="deposit",
        owner="owner",
        message=b"message",
        last_valid_block_height=150,
        amount=1000,
    )


async def sign(conn: Connection, signature: str = "signature") -> Submission:
    return await submissions.record_signed(
        conn,
        message_hash=signature.encode().ljust(32),
        kind="withdraw",
        owner="owner",
        message=b"message",
        signature=signature,
        wire=b"wire",
        last_valid_block_height=150,
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
        await submissions.advance(conn, "signature", State.CONFIRMED, slot=7)
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


async def test_of_many_that_submit_different_bytes_at_once_one_wins(database: Database) -> None:
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


ORDER = [State.PENDING, State.SUBMITTED, State.CONFIRMED, State.FINALIZED]


async def test_states_only_move_forward(database: Database) -> None:
    async with database.connection() as conn:
        for here, there in itertools.product(range(4), range(1, 4)):
            signature = f"from {here} to {there}"
            await sign(conn, signature)
            if here:
                assert await submissions.advance(conn, signature, ORDER[here], slot=5)
            moved = await submissions.advance(conn, signature, ORDER[there], slot=6)
            assert moved is (there > here)
            stored = await submissions.get_by_signature(conn, signature)
            assert stored is not None
            assert stored.state is ORDER[max(here, there)]


@pytest.mark.parametrize("end", [State.FAILED, State.EXPIRED, State.QUARANTINED, State.FINALIZED])
async def test_an_end_is_an_end(database: Database, end: State) -> None:
    async with database.connection() as conn:
        await sign(conn)
        assert await submissions.advance(conn, "signature", end, error={"name": "Overflow"})
        for state in State:
            if state not in {State.BUILT, State.PENDING}:
                assert not await submissions.advance(conn, "signature", state)
        assert not await submissions.retract(conn, "signature")
        assert await submissions.unfinished(conn) == []
        stored = await submissions.get_by_signature(conn, "signature")
    assert stored is not None
    assert (stored.state, stored.error) == (end, {"name": "Overflow"})


async def test_a_fork_takes_a_confirmed_one_back_and_it_may_then_expire(
    database: Database,
) -> None:
    async with database.connection() as conn:
        await sign(conn)
        await submissions.advance(conn, "signature", State.CONFIRMED, slot=5)
        assert not await submissions.advance(conn, "signature", State.EXPIRED)
        assert await submissions.retract(conn, "signature")
        stored = await submissions.get_by_signature(conn, "signature")
        assert stored is not None
        assert (stored.state, stored.slot) == (State.SUBMITTED, None)
        assert await submissions.advance(conn, "signature", State.EXPIRED)


async def test_a_restart_finds_what_is_unfinished_oldest_first(database: Database) -> None:
    async with database.connection() as conn:
        await build(conn)
        for n in range(5):
            await sign(conn, f"signature {n}")
        await submissions.advance(conn, "signature 1", State.SUBMITTED)
        await submissions.advance(conn, "signature 2", State.CONFIRMED, slot=5)
        await submissions.advance(conn, "signature 3", State.FINALIZED, slot=5)
        found = await submissions.unfinished(conn, limit=3)
    assert [row.signature for row in found] == ["signature 0", "signature 1", "signature 2"]


async def test_only_what_was_never_signed_is_pruned(database: Database) -> None:
    async with database.connection() as conn:
        await build(conn)
        await sign(conn)
        await conn.execute("UPDATE submissions SET created_at = now() - INTERVAL '2 hours'")
        await build(conn, bytes(32))
        assert await submissions.prune_built(conn, timedelta(hours=1)) == 1
        assert await submissions.get_by_message(conn, HASH) is None
        assert await submissions.get_by_signature(conn, "signature") is not None
