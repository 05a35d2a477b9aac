"""Reads go to a replica that is new enough, and to the primary otherwise: nobody sees a failure."""

from __future__ import annotations

from functools import partial

import pytest

from cvms.errors import MinSlotNotIndexed, SlotNotIndexed
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_value
from cvms.store.replicas.snapshot import ReadBound
from cvms.store.vaults import history, vaults
from cvms.store.vaults.history import PageRequest
from cvms.store.vaults.vaults import VaultRow
from tests.harness.postgres_pair import Pair
from tests.store.examples import history_row
from tests.store.replicas.conftest import Replicated, pause, replay, replicated, resume


async def total(servers: Replicated, bound: ReadBound) -> int:
    """Return the vault's total, which both ways to read it have to agree on."""
    shared = await servers.reader.vault_row("owner", bound)
    assert shared is not None
    slot = bound.slot
    alone = await servers.reader.read(partial(vaults.get, owner="owner"), bound)
    assert alone == shared
    assert bound.slot == slot
    return shared.total


async def test_a_replica_answers_and_says_for_which_slot(servers: Replicated) -> None:
    bound = ReadBound()
    assert await total(servers, bound) == 1
    assert bound.slot == 100
    assert servers.answered_by("1") == 2
    assert servers.answered_by("primary") == 0


async def test_an_answer_is_never_older_than_the_slot_that_the_client_sends(
    servers: Replicated,
) -> None:
    pause(servers.pair)
    await servers.write(200, 2)

    anything = ReadBound()
    assert await total(servers, anything) == 1
    assert anything.slot == 100
    written = ReadBound(min_slot=200)
    assert await total(servers, written) == 2
    assert written.slot == 200
    assert servers.answered_by("primary") == 2

    resume(servers.pair)
    await servers.reader.check()
    assert await total(servers, ReadBound(min_slot=200)) == 2
    assert servers.answered_by("primary") == 2


async def test_a_replica_that_lost_a_slot_to_a_fork_is_not_believed(servers: Replicated) -> None:
    """What is remembered of it is old, but each snapshot says for itself what it is true for."""
    servers.reader.replicas[0].slot = 150
    await servers.write(200, 2)
    pause(servers.pair)
    await servers.write(300, 3)
    servers.reader.replicas[0].slot = 300
    assert await total(servers, ReadBound(min_slot=300)) == 3


async def test_pages_of_a_history_are_bound_too(servers: Replicated) -> None:
    pause(servers.pair)
    await servers.write(200, 2)
    async with servers.database.transaction() as conn:
        await history.add(conn, [history_row(slot=200)])
    page = PageRequest(owner="owner", limit=10)
    assert await servers.reader.history_page(page, ReadBound()) == []
    bound = ReadBound(min_slot=200)
    assert [row.slot for row in await servers.reader.history_page(page, bound)] == [200]
    assert bound.slot == 200


async def test_a_slot_that_nobody_has_indexed_is_refused(servers: Replicated) -> None:
    bound = ReadBound(min_slot=101)
    with pytest.raises(MinSlotNotIndexed, match=r"Slot 101 .* newest indexed slot is 100"):
        await servers.reader.vault_row("owner", bound)
    with pytest.raises(MinSlotNotIndexed):
        await servers.reader.read(vaults.tvl, bound)
    assert bound.slot is None


@pytest.mark.parametrize("server", ["1", "primary"])
async def test_the_rows_of_an_answer_are_those_of_its_slot(
    servers: Replicated, server: str
) -> None:
    """What is committed after the slot was read is not in the rows that are read after it."""

    async def read_late(conn: Connection) -> VaultRow | None:
        await servers.write(200, 2)
        replay(servers.pair)
        return await vaults.get(conn, "owner")

    if server == "primary":
        servers.reader.replicas[0].trouble = "left out"
    bound = ReadBound()
    row = await servers.reader.read(read_late, bound)
    assert servers.answered_by(server) == 1
    assert row is not None
    assert (bound.slot, row.total) == (100, 1)


async def test_what_fails_at_a_replica_is_asked_of_the_primary(servers: Replicated) -> None:
    async def fails_there(conn: Connection) -> int:
        return int(await fetch_value(conn, "SELECT 1 / (1 - pg_is_in_recovery()::INTEGER)"))

    async def is_not_there(conn: Connection) -> bool:
        if await fetch_value(conn, "SELECT pg_is_in_recovery()"):
            raise SlotNotIndexed("too new")
        return True

    assert await servers.reader.read(fails_there, ReadBound()) == 1
    assert await servers.reader.read(is_not_there, ReadBound())
    assert servers.answered_by("primary") == 2
    assert await total(servers, ReadBound()) == 1
    assert servers.answered_by("1") == 2


async def test_a_replica_takes_no_writes(servers: Replicated) -> None:
    async def write(conn: Connection) -> str:
        return str(await fetch_value(conn, "SHOW transaction_read_only"))

    assert await servers.reader.read(write, ReadBound()) == "on"


async def test_without_replicas_nothing_but_the_query_is_made(pair: Pair) -> None:
    async with replicated(pair) as servers:
        servers.reader.replicas = ()
        await servers.write(100, 1)
        bound = ReadBound()

        async def in_transaction(conn: Connection) -> bool:
            return conn.pgconn.transaction_status != 0

        assert await total(servers, bound) == 1
        assert not await servers.reader.read(in_transaction, bound)
        assert bound.slot is None
        asked = ReadBound(min_slot=100)
        assert await total(servers, asked) == 1
        assert asked.slot == 100


async def test_a_row_for_a_cache_comes_from_the_primary(servers: Replicated) -> None:
    pause(servers.pair)
    await servers.write(200, 2)
    for bound in (ReadBound(), ReadBound(min_slot=100), ReadBound(min_slot=200)):
        row = await servers.reader.vault_row("owner", bound, from_primary=True)
        assert row is not None
        assert row.total == 2
