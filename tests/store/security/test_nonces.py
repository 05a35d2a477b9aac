"""A nonce takes effect once, for its owner, before it expires."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
import trio

from cvms.errors import NonceExpired, NonceUnknown, NonceUsed
from cvms.store.postgres import row_mapping
from cvms.store.postgres.database import Database
from cvms.store.security import nonces
from cvms.store.security.nonces import NewNonce


async def issue(database: Database, nonce: str = "nonce", seconds: float = 60) -> None:
    async with database.connection() as conn:
        await nonces.issue(conn, [NewNonce("owner", nonce, timedelta(seconds=seconds))])


async def test_nonces_issued_together_each_have_their_owner_and_lifetime(
    database: Database,
) -> None:
    new = [NewNonce(f"owner {n}", f"nonce {n}", timedelta(hours=n)) for n in (3, 1, 2)]
    async with database.connection() as conn:
        expiries = await nonces.issue(conn, new)
        assert sorted(expiries) == [expiries[1], expiries[2], expiries[0]]
        assert timedelta(minutes=59) < expiries[2] - expiries[1] < timedelta(minutes=61)
        for each in new:
            await nonces.consume(conn, each.owner, each.nonce)


async def test_of_twenty_equal_uses_exactly_one_succeeds(database: Database) -> None:
    await issue(database)
    used, refused = 0, 0

    async def consume() -> None:
        nonlocal used, refused
        try:
            async with database.transaction() as conn:
                await nonces.consume(conn, "owner", "nonce")
        except NonceUsed:
            refused += 1
        else:
            used += 1

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(consume)
    assert (used, refused) == (1, 19)


async def test_a_rolled_back_use_leaves_the_nonce_valid(database: Database) -> None:
    await issue(database)
    with trio.CancelScope() as scope:
        async with database.transaction() as conn:
            await nonces.consume(conn, "owner", "nonce")
            scope.cancel()
    async with database.connection() as conn:
        await nonces.check(conn, "owner", "nonce")
        await nonces.consume(conn, "owner", "nonce")


@pytest.mark.parametrize("use", [nonces.consume, nonces.check])
async def test_each_refusal_has_its_own_error(database: Database, use: type(nonces.check)) -> None:  # type: ignore[valid-type]
    await issue(database, "used")
    await issue(database, "late", seconds=-1)
    await issue(database, "good")
    async with database.connection() as conn:
        await nonces.consume(conn, "owner", "used")
        for owner, nonce, refusal in (
            ("owner", "used", NonceUsed),
            ("owner", "late", NonceExpired),
            ("owner", "never issued", NonceUnknown),
            ("somebody else", "good", NonceUnknown),
        ):
            with pytest.raises(refusal):
                await use(conn, owner, nonce)
        await use(conn, "owner", "good")


async def test_checking_does_not_use_it_up(database: Database) -> None:
    await issue(database)
    async with database.connection() as conn:
        await nonces.check(conn, "owner", "nonce")
        await nonces.consume(conn, "owner", "nonce")


async def test_a_nonce_cannot_be_issued_twice(database: Database) -> None:
    await issue(database)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await issue(database)


async def test_pruning_deletes_nonces_expired_long_ago(database: Database) -> None:
    day = 24 * 3600
    await issue(database, "long ago", seconds=-day - 60)
    await issue(database, "just now", seconds=-60)
    async with database.connection() as conn:
        assert await nonces.prune(conn) == 1
        with pytest.raises(NonceUnknown):
            await nonces.check(conn, "owner", "long ago")
        with pytest.raises(NonceExpired):
            await nonces.check(conn, "owner", "just now")


AT_MOST = """
CREATE FUNCTION at_most() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    ASSERT (SELECT count(*) FROM removed) <= 3;
    RETURN NULL;
END
$$;
CREATE TRIGGER at_most AFTER DELETE ON nonces
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION at_most();
INSERT INTO nonces (nonce, owner, expires_at)
SELECT n, 'owner', now() - INTERVAL '2 days'
FROM generate_series(1, 10) AS n
"""


async def test_no_statement_deletes_more_than_a_batch(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_mapping, "DELETED_AT_ONCE", 3)
    await issue(database, "valid")
    async with database.connection() as conn:
        await conn.execute(AT_MOST)
        assert await nonces.prune(conn) == 10
        assert await nonces.prune(conn) == 0
        await nonces.check(conn, "owner", "valid")
