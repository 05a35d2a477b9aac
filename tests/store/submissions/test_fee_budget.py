"""The operator pays no more in a day than the budget, however many charges are concurrent."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from cvms.errors import SponsorshipExhausted
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import fee_budget, submissions
from cvms.store.submissions.fee_budget import FeeBudget

BUDGET = FeeBudget(owner=100, everybody=250)

pytestmark = pytest.mark.usefixtures("database_at_noon")


def message_hash(name: str) -> bytes:
    return name.encode().ljust(32)


async def sign(conn: Connection, name: str) -> bytes:
    await submissions.record_signed(
        conn,
        message_hash=message_hash(name),
        kind="withdraw",
        owner="alice",
        message=b"message",
        signature=name,
        wire=b"wire",
        last_valid_block_height=150,
        since_slot=1,
    )
    return message_hash(name)


async def pay(
    database: Database,
    name: str,
    lamports: int,
    *,
    owner: str | None = "alice",
    budget: FeeBudget = BUDGET,
) -> bool:
    """Sign and charge in one transaction; return whether the budget allowed it."""
    try:
        async with database.transaction() as conn:
            await fee_budget.charge(
                conn, await sign(conn, name), lamports, owner=owner, budget=budget
            )
    except SponsorshipExhausted:
        return False
    return True


async def spent(database: Database, owner: str = fee_budget.ALL_OWNERS) -> int:
    async with database.connection() as conn:
        return await fee_budget.spent_today(conn, owner)


async def test_an_owner_spends_up_to_the_budget_and_no_further(database: Database) -> None:
    assert await pay(database, "a", 60)
    assert await pay(database, "b", 40)
    assert not await pay(database, "c", 1)
    assert await pay(database, "d", 100, owner="bob"), "the others are not the worse for it"
    assert (await spent(database, "alice"), await spent(database, "bob")) == (100, 100)
    assert await spent(database) == 200


async def test_all_owners_together_have_a_budget_too(database: Database) -> None:
    for owner in ("alice", "bob"):
        assert await pay(database, f"by {owner}", 100, owner=owner), owner
    assert not await pay(database, "by carol", 51, owner="carol")
    assert await spent(database, "carol") == 0, "what is refused is on no account"
    assert await pay(database, "for anybody", 50, owner=None)
    assert not await pay(database, "for anybody again", 1, owner=None)


async def test_a_first_payment_beyond_the_budget_is_refused(database: Database) -> None:
    assert not await pay(database, "a", 101)
    assert await pay(database, "b", 101, budget=FeeBudget(owner=None, everybody=None))


async def test_concurrent_charges_stay_within_the_budget(database: Database) -> None:
    paid: list[bool] = []

    async def one(number: int) -> None:
        paid.append(await pay(database, f"number {number}", 10))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for number in range(24):
                nursery.start_soon(one, number)
    assert paid.count(True) == 10
    assert await spent(database, "alice") == 100


async def test_the_same_submission_is_charged_once(database: Database) -> None:
    await pay(database, "a", 60)
    async with database.transaction() as conn:
        await fee_budget.charge(conn, message_hash("a"), 60, owner="alice", budget=BUDGET)
    assert await spent(database, "alice") == 60


async def test_what_never_landed_is_refunded(database: Database) -> None:
    for name, owner in (("a", "alice"), ("b", "alice"), ("c", "bob")):
        await pay(database, name, 50, owner=owner)
    await pay(database, "d", 20, owner=None)
    async with database.transaction() as conn:
        await sign(conn, "never charged")
        await fee_budget.refund(conn, ["a", "c", "d", "never charged"])
    assert (await spent(database, "alice"), await spent(database, "bob")) == (50, 0)
    assert await spent(database) == 50
    assert await pay(database, "e", 50)


async def test_concurrent_charges_and_refunds_never_deadlock(database: Database) -> None:
    owners = ("alice", "bob", "carol")
    budget = FeeBudget(owner=None, everybody=None)
    for owner in owners:
        for number in range(6):
            await pay(database, f"{owner} {number}", 10, owner=owner, budget=budget)

    async def again(owner: str) -> None:
        assert await pay(database, f"{owner} again", 10, owner=owner, budget=budget)

    async def give_back(number: int) -> None:
        names = [f"{owner} {number}" for owner in owners[:: (-1) ** number]]
        async with database.transaction() as conn:
            await fee_budget.refund(conn, names)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(give_back, number)
                nursery.start_soon(again, owners[number % 3]) if number < 3 else None
    assert [await spent(database, owner) for owner in owners] == [10] * 3
    assert await spent(database) == 30


async def test_the_refusal_says_when_to_retry(database: Database) -> None:
    await pay(database, "a", 100)
    with pytest.raises(SponsorshipExhausted) as early:
        async with database.connection() as conn:
            await fee_budget.check(conn, "alice", 1, BUDGET)
    assert 1 <= early.value.retry_after <= 86_400
    async with database.connection() as conn:
        await fee_budget.check(conn, "bob", 1, BUDGET)
        with pytest.raises(SponsorshipExhausted, match="All owners"):
            await fee_budget.check(conn, "bob", 51, FeeBudget(owner=100, everybody=150))


async def test_the_budget_resets_on_a_new_day(database: Database) -> None:
    await pay(database, "a", 100)
    async with database.connection() as conn:
        await conn.execute("UPDATE sponsored SET day = day - 1")
        await conn.execute("UPDATE submissions SET sponsored_day = sponsored_day - 1")
    assert await pay(database, "b", 100)
    async with database.transaction() as conn:
        await fee_budget.refund(conn, ["a"])
        assert await fee_budget.spent_today(conn, "alice") == 100, "given back to its own day"
        assert await fee_budget.prune(conn, timedelta(days=0)) == 2
