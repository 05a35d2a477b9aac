"""Second factors: setup, use of steps and recovery codes, and key rotation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from cryptography.fernet import Fernet

from cvms.errors import Conflict, DecryptionFailed, SecondFactorUsed
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import reseal, second_factors
from cvms.store.security.encryption import SecretBox

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
CODES = [bytes([number]) * 32 for number in range(10)]


async def begin(database: Database, owner: str = "alice") -> None:
    async with database.transaction() as conn:
        await second_factors.begin(
            conn, owner, secret=SECRET, hashes=CODES, secret_box=SecretBox([OLD])
        )


async def enable(database: Database, owner: str = "alice", step: int = 100) -> None:
    await begin(database, owner)
    async with database.connection() as conn:
        await second_factors.enable(conn, owner, step)


async def factor(database: Database, owner: str = "alice") -> second_factors.Factor:
    async with database.transaction() as conn:
        found = await second_factors.lock(conn, owner)
    assert found is not None
    return found


async def left(database: Database) -> int:
    async with database.connection() as conn:
        status = await second_factors.status(conn, "alice")
    assert status is not None
    return status.recovery_codes_left


async def test_a_second_factor_is_on_only_once_it_was_enabled(database: Database) -> None:
    await begin(database)
    async with database.connection() as conn:
        assert await second_factors.status(conn, "alice") is None
        with pytest.raises(SecondFactorUsed):
            await second_factors.use_step(conn, "alice", 101, newest=101)
        since = await second_factors.enable(conn, "alice", 100)
        assert await second_factors.status(conn, "alice") == second_factors.Status(since, 10)
        with pytest.raises(Conflict):
            await second_factors.enable(conn, "alice", 101)
    with pytest.raises(Conflict, match="disable it first"):
        await begin(database)


async def test_another_setup_replaces_the_pending_one(database: Database) -> None:
    await begin(database)
    first = await factor(database)
    async with database.connection() as conn:
        await second_factors.fail(conn, "alice", None)
    await begin(database)
    second = await factor(database)
    assert second.sealed != first.sealed
    assert second.created_at > first.created_at
    assert second.failures == 0


async def test_the_secret_is_neither_in_the_row_nor_shown(database: Database) -> None:
    await begin(database)
    found = await factor(database)
    assert SECRET.encode() not in found.sealed
    assert found.secret(SecretBox([OLD])) == SECRET
    assert SECRET not in repr(found)
    assert found.sealed.decode() not in repr(found)


async def test_the_secret_does_not_decrypt_in_another_owners_row(database: Database) -> None:
    await begin(database, "mallory")
    await begin(database, "alice")
    async with database.connection() as conn:
        await conn.execute(
            "UPDATE twofa SET secret = (SELECT secret FROM twofa WHERE owner = 'mallory')"
        )
    assert (await factor(database, "mallory")).secret(SecretBox([OLD])) == SECRET
    with pytest.raises(DecryptionFailed):
        (await factor(database, "alice")).secret(SecretBox([OLD]))


async def test_of_twenty_uses_of_a_step_exactly_one_succeeds(database: Database) -> None:
    await enable(database)
    assert await at_once(database, "step") == (1, 19)
    assert (await factor(database)).last_step == 101


async def test_of_twenty_uses_of_a_recovery_code_exactly_one_succeeds(database: Database) -> None:
    await enable(database)
    assert await at_once(database, "recovery code") == (1, 19)
    assert await left(database) == 9


async def test_steps_only_go_forward(database: Database) -> None:
    await enable(database, step=100)
    async with database.connection() as conn:
        for step in (99, 100):
            with pytest.raises(SecondFactorUsed):
                await second_factors.use_step(conn, "alice", step, newest=102)
        await second_factors.use_step(conn, "alice", 102, newest=102)
        with pytest.raises(SecondFactorUsed):
            await second_factors.use_step(conn, "alice", 101, newest=102)


async def test_a_step_used_while_the_clock_was_ahead_does_not_block_the_present_ones(
    database: Database,
) -> None:
    await enable(database, step=100)
    async with database.connection() as conn:
        await second_factors.use_step(conn, "alice", 9_000, newest=9_000)
        found = await factor(database)
        assert not found.step_used(101, newest=102)
        await second_factors.use_step(conn, "alice", 101, newest=102)
        assert (await factor(database)).last_step == 101


@pytest.mark.parametrize("uses", [0, second_factors.STEPS_KEPT + 1])
async def test_no_step_is_used_twice_wherever_the_clock_goes(database: Database, uses: int) -> None:
    await enable(database, step=100)
    async with database.connection() as conn:
        await second_factors.use_step(conn, "alice", 9_000, newest=9_000)
        for step in range(101, 101 + uses):
            await second_factors.use_step(conn, "alice", step, newest=step)
        for step in (9_000, (await factor(database)).last_step):
            found = await factor(database)
            assert found.step_used(step, newest=step + 1)
            with pytest.raises(SecondFactorUsed):
                await second_factors.use_step(conn, "alice", step, newest=step + 1)


async def test_a_step_that_is_no_longer_kept_is_not_used_again_by_a_clock_that_was_set_back(
    database: Database,
) -> None:
    kept = second_factors.STEPS_KEPT
    await enable(database, step=100)
    async with database.connection() as conn:
        for step in range(101, 101 + 2 * kept):
            await second_factors.use_step(conn, "alice", step, newest=step)
        found = await factor(database)
        assert len(found.used_steps) == kept
        for step in (*range(100, 101 + kept), 100 + 2 * kept):
            assert found.step_used(step, newest=step + 1)
            with pytest.raises(SecondFactorUsed):
                await second_factors.use_step(conn, "alice", step, newest=step + 1)


@pytest.mark.parametrize("kind", ["step", "recovery code"])
async def test_a_rolled_back_use_leaves_the_code_valid(database: Database, kind: str) -> None:
    await enable(database)
    with trio.CancelScope() as scope:
        async with database.transaction() as conn:
            await use(conn, kind)
            scope.cancel()
    async with database.connection() as conn:
        await use(conn, kind)


async def test_a_recovery_code_of_one_owner_is_unknown_for_another(database: Database) -> None:
    await enable(database, "alice")
    async with database.connection() as conn:
        assert await second_factors.recovery_code_used(conn, "alice", CODES[0]) is False
        assert await second_factors.recovery_code_used(conn, "bob", CODES[0]) is None
        assert await second_factors.recovery_code_used(conn, "alice", bytes(31) + b"x") is None
        with pytest.raises(SecondFactorUsed):
            await second_factors.use_recovery_code(conn, "bob", CODES[0])
        await second_factors.use_recovery_code(conn, "alice", CODES[0])
        assert await second_factors.recovery_code_used(conn, "alice", CODES[0]) is True


async def test_a_valid_code_lifts_the_lock_that_wrong_ones_caused(database: Database) -> None:
    await enable(database)
    for kind in ("step", "recovery code"):
        async with database.connection() as conn:
            await second_factors.fail(conn, "alice", datetime.now(UTC) + timedelta(days=1))
            await use(conn, kind)
        found = await factor(database)
        assert (found.failures, found.locked_until) == (0, None)


async def test_removing_a_second_factor_removes_its_recovery_codes(database: Database) -> None:
    await enable(database)
    async with database.connection() as conn:
        await second_factors.remove(conn, "alice")
        assert await second_factors.lock(conn, "alice") is None
        assert await second_factors.recovery_code_used(conn, "alice", CODES[0]) is None


async def test_every_secret_moves_to_a_new_key(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reseal, "ROWS_AT_ONCE", 2)
    owners = ["alice", "bob", "carol", "dave", "erin"]
    for owner in owners:
        await enable(database, owner)
    both = SecretBox([NEW, OLD])
    async with database.connection() as conn:
        assert await second_factors.reseal(conn, both) == 5
        assert await second_factors.reseal(conn, both) == 0
        for owner in owners:
            assert (await factor(database, owner)).secret(SecretBox([NEW])) == SECRET
        with pytest.raises(DecryptionFailed, match="twofa:alice"):
            await second_factors.reseal(conn, SecretBox([OLD]))


async def test_pruning_deletes_only_what_was_never_enabled(database: Database) -> None:
    async with database.connection() as conn:
        await enable(database, "alice")
        await begin(database, "bob")
        await begin(database, "carol")
        await conn.execute("UPDATE twofa SET created_at = '2000-01-01' WHERE owner <> 'bob'")
        assert await second_factors.prune(conn, timedelta(days=1)) == 1
        assert await second_factors.lock(conn, "carol") is None


async def use(conn: Connection, kind: str) -> None:
    if kind == "step":
        await second_factors.use_step(conn, "alice", 101, newest=101)
    else:
        await second_factors.use_recovery_code(conn, "alice", CODES[3])


async def at_once(database: Database, kind: str) -> tuple[int, int]:
    """Use it twenty times, each in a transaction; return how many succeeded and were refused."""
    used, refused = 0, 0

    async def once() -> None:
        nonlocal used, refused
        try:
            async with database.transaction() as conn:
                await use(conn, kind)
        except SecondFactorUsed:
            refused += 1
        else:
            used += 1

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(once)
    return used, refused
