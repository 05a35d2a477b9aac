"""Texts that PostgreSQL does not store are stored with replacements, wherever others write them."""

from __future__ import annotations

from cvms.store.index import index_status
from cvms.store.messaging import leader_lease
from cvms.store.postgres.database import Database
from cvms.store.postgres.row_mapping import fetch_value
from cvms.store.postgres.text import storable_json
from cvms.store.reconciliation import reconciliation_log
from cvms.store.reconciliation.reconciliation_log import entry

BAD, STORED = "a\0b\ud800c\udfff", "a\ufffdb\ufffdc\ufffd"


def test_json_is_cleaned_at_every_depth() -> None:
    value = {BAD: [BAD, {"deep": (BAD, 1, None, True)}], "fine": "\N{SNOWMAN}"}
    assert storable_json(value) == {
        STORED: [STORED, {"deep": [STORED, 1, None, True]}],
        "fine": "\N{SNOWMAN}",
    }


async def test_what_stopped_the_indexer_is_stored(database: Database) -> None:
    async with database.connection() as conn:
        await index_status.note_problem(conn, "program", BAD)
        assert await fetch_value(conn, "SELECT problem FROM indexer_problems") == STORED


async def test_a_leader_with_a_problem_keeps_its_lease(database: Database) -> None:
    async with database.dedicated() as conn:
        assert await leader_lease.try_lock(conn)
        term = await leader_lease.take(conn, "one", lease=60.0)
        assert await leader_lease.renew(conn, term, lease=60.0, slot=1, problem=BAD)
        report = await leader_lease.report(conn)
        assert report is not None
        assert report.problem == STORED


async def test_the_cause_of_a_difference_is_stored(database: Database) -> None:
    async with database.connection() as conn:
        difference = entry(
            vault="v",
            owner="o",
            field="f",
            expected=1,
            actual=2,
            chain_slot=1,
            healed=False,
            cause=BAD,
        )
        await reconciliation_log.log(conn, difference)
        assert await fetch_value(conn, "SELECT cause FROM reconciliation_logs") == STORED
