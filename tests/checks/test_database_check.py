"""Databases that the service cannot use, or not safely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql

from cvms.checks.database_check import MINIMUM_VERSION, server_findings
from cvms.store.postgres.driver.server_facts import ServerFacts
from tests.checks.conftest import Setup

ROLE = "check_role"
DURABLE = ServerFacts(
    version="15.6",
    version_number=150006,
    encoding="UTF8",
    fsync="on",
    full_page_writes="on",
    synchronous_commit="on",
    read_only=False,
    connections=97,
    role="cvms",
    database="cvms",
    schema="public",
    may_create=True,
    now=datetime(2027, 1, 31, 12, tzinfo=UTC),
)


@pytest.fixture
def as_other_role(deployed: Setup, database_url: str) -> Iterator[psycopg.Connection]:
    """A role without any right is the service's; yields the owner's connection."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'secret'".encode())
        owner.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        owner.execute(f"GRANT USAGE ON SCHEMA public TO {ROLE}".encode())
        user = psycopg.conninfo.conninfo_to_dict(database_url)["user"]
        deployed.set(DATABASE_URL=database_url.replace(f"//{user}", f"//{ROLE}:secret", 1))
        try:
            yield owner
        finally:
            owner.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(ROLE)))
            owner.execute(f"DROP ROLE {ROLE}".encode())


async def test_a_role_without_rights_fails_and_one_that_writes_only_is_fine(
    deployed: Setup, as_other_role: psycopg.Connection
) -> None:
    checked = await deployed.check("--only", "database")
    assert checked.status == 1
    assert "grant SELECT, INSERT, UPDATE and DELETE" in (
        checked.line("database_rights").advice or ""
    )
    as_other_role.execute(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}".encode()
    )
    checked = await deployed.check("--only", "database")
    line = checked.line("database_rights")
    assert (line.level, checked.failures) == ("ok", set())
    assert line.seen == f"the role {ROLE} may read and write, not migrate (no DDL)"
    as_other_role.execute(f"REVOKE INSERT ON vaults FROM {ROLE}".encode())
    checked = await deployed.check("--only", "database")
    assert checked.failures == {"database_rights"}
    assert checked.line("database_rights").seen.endswith("may not read and write vaults")


async def test_a_role_that_cannot_migrate_fails_while_the_schema_is_behind(
    deployed: Setup, as_other_role: psycopg.Connection
) -> None:
    as_other_role.execute("DELETE FROM schema_migrations WHERE version = 28")
    as_other_role.execute(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}".encode()
    )
    checked = await deployed.check("--only", "database")
    assert checked.line("database_migrations").seen == "behind: 28 are not applied yet"
    assert "migrations are not applied yet" in checked.line("database_rights").seen
    assert checked.failures == {"database_rights"}


async def test_the_owner_of_the_tables_may_migrate(deployed: Setup) -> None:
    checked = await deployed.check("--only", "database")
    assert "may migrate" in checked.line("database_rights").seen
    assert checked.line("database_migrations").seen.startswith("equal: up to ")
    assert checked.line("database_version").level == "ok"
    assert checked.line("database_encoding").seen == "UTF8"
    assert checked.line("database_clock").level == "ok"
    # The server of the tests need not survive a crash.
    assert "fsync = off" in checked.line("database_durability").seen


NEWER = "INSERT INTO schema_migrations (version, name, oldest_code) VALUES (9999, 'later', %s)"


async def test_newer_migrations_that_this_version_works_with_are_named(
    deployed: Setup, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(NEWER.encode(), [None])
    checked = await deployed.check("--only", "database")
    assert checked.line("database_migrations").level == "ok"
    assert "9999, with which this one works" in checked.line("database_migrations").seen


async def test_a_changed_migration_fails(deployed: Setup, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("UPDATE schema_migrations SET checksum = 'other' WHERE version = 12")
    checked = await deployed.check("--only", "database")
    assert checked.failures == {"database_migrations"}
    assert "0012_maturities.sql" in checked.line("database_migrations").seen


async def test_newer_migrations_fail(deployed: Setup, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(NEWER.encode(), [9999])
    checked = await deployed.check("--only", "database")
    assert checked.status == 1
    assert "9999" in checked.line("database_migrations").seen
    assert checked.line("database_migrations").advice == (
        "run the version that applied them, or a later one"
    )


async def test_an_empty_database_is_a_warning(setup: Setup, empty_database_url: str) -> None:
    setup.set(DATABASE_URL=empty_database_url)
    checked = await setup.check("--only", "database")
    assert (checked.status, checked.line("database_migrations").level) == (0, "warning")


async def test_the_tables_of_another_program_fail(setup: Setup, empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as owner:
        owner.execute("CREATE TABLE vaults (id INTEGER)")
    setup.set(DATABASE_URL=empty_database_url)
    checked = await setup.check("--only", "database")
    assert checked.status == 1
    assert "tables of another program" in checked.line("database_schema").seen


async def test_more_connections_than_the_server_has_fail(deployed: Setup) -> None:
    deployed.set(DB_MAX_CONNECTIONS="1000")
    checked = await deployed.check("--only", "database")
    assert checked.failures == {"database_connections"}


@pytest.mark.parametrize(
    ("facts", "check", "level", "kind"),
    [
        (replace(DURABLE, version_number=(MINIMUM_VERSION - 1) * 10_000), "version", "failure", ""),
        (replace(DURABLE, encoding="SQL_ASCII"), "encoding", "failure", ""),
        (replace(DURABLE, read_only=True), "writable", "failure", ""),
        (replace(DURABLE, fsync="off"), "durability", "warning", "database_not_durable"),
        (replace(DURABLE, connections=27), "connections", "warning", ""),
        (
            replace(DURABLE, now=DURABLE.now + timedelta(seconds=3)),
            "clock",
            "warning",
            "clock_differs",
        ),
    ],
)
def test_what_no_test_can_make_real_is_found(
    facts: ServerFacts, check: str, level: str, kind: str
) -> None:
    found = server_findings(facts, local=DURABLE.now, pool_size=8)
    [finding] = [each for each in found if each.level != "ok"]
    assert (finding.check, finding.level, finding.kind) == (f"database_{check}", level, kind)
    assert finding.advice
