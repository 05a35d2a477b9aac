"""A role that may read and write rows, and change nothing else, is enough to serve."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import httpx
import psycopg
import pytest
import trio
from psycopg import sql

from cvms.cli import main
from cvms.demo import run_demo
from cvms.http.framework.admin_tokens import Role, mint
from cvms.store.postgres.database import open_database
from cvms.store.postgres.migrate import apply_schema
from cvms.store.postgres.migrations import Migration, migrations
from tests.acceptance.conftest import System
from tests.acceptance.test_backup import programs_on_path
from tests.harness.processes import HANG_SECONDS, until_ready
from tests.operations.pages import shell

SECRET = "s" * 32
ROLE = "cvms_service"

Captured: TypeAlias = pytest.CaptureFixture[str]


@pytest.fixture
def role_of_test(database_url: str) -> Iterator[sql.Identifier]:
    """The name of the role, which is dropped afterwards."""
    yield sql.Identifier(ROLE)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(ROLE)))
        owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(ROLE)))


@pytest.fixture
def service_url(database_url: str, role_of_test: sql.Identifier) -> str:
    """The database as a role without a right sees it."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role_of_test))
    return _as_role(database_url)


def _as_role(database_url: str) -> str:
    return database_url.replace("postgres:", f"{ROLE}:", 1)


@pytest.fixture
def granted(
    service_url: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The same, after a migration that grants the role what it needs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert main(["migrate", "--grant-to", ROLE]) == 0
    return service_url


@pytest.mark.slow(seconds=20)
async def test_every_feature_and_every_task_works_with_the_rights_of_a_service(
    system: System, granted: str
) -> None:
    output: list[str] = []
    token = mint(SECRET.encode(), subject="carol", role=Role.VIEWER, seconds=3600)
    async with (
        system.serve(DATABASE_URL=granted, MIGRATE="off", ADMIN_JWT_SECRET=SECRET) as server,
        httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
    ):
        await until_ready(server.url, server)
        await run_demo(system.at, say=output.append)
        assert output[-1] == "Everything is as it should be."
        with trio.fail_after(HANG_SECONDS):
            while True:
                reply = await http.get(f"{server.url}/api/admin/tasks")
                tasks = reply.json()["tasks"]
                errors = {name: each["last_error"] for name, each in tasks.items()}
                assert errors == dict.fromkeys(tasks)
                if all(each["last_success"] for name, each in tasks.items() if name != "leader"):
                    break
                await trio.sleep(0.05)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (n INT)",
        "ALTER TABLE vaults ADD COLUMN more INT",
        "DROP TABLE nonces",
        "TRUNCATE transactions",
        "CREATE SCHEMA more",
        "DELETE FROM schema_migrations",
        "UPDATE audit_logs SET actor = 'nobody'",
        "DELETE FROM audit_logs",
    ],
)
def test_the_role_may_change_neither_the_schema_nor_the_audit_trail(
    granted: str, statement: str
) -> None:
    with psycopg.connect(granted) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(statement.encode())


def test_tables_of_later_migrations_are_granted_with_them(granted: str, database_url: str) -> None:
    later = Migration(1000, "later", "CREATE TABLE IF NOT EXISTS later (\n    n INTEGER\n)")

    async def migrate() -> None:
        async with open_database(database_url) as database, database.dedicated() as conn:
            await apply_schema(conn, [*migrations(), later])

    trio.run(migrate)
    with psycopg.connect(granted) as conn:
        conn.execute("INSERT INTO later VALUES (1)")


@pytest.mark.parametrize(
    ("role", "problem"),
    [("nobody_here", "there is no role nobody_here; make it first"), ("postgres", "that owns")],
)
def test_rights_are_granted_to_another_role_only(
    granted: str, role: str, problem: str, capsys: Captured
) -> None:
    assert main(["migrate", "--grant-to", role]) == 2
    assert problem in capsys.readouterr().err


def test_a_migration_by_the_role_says_who_has_to_run_it(
    granted: str, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("DELETE FROM schema_migrations WHERE version > 20")
    monkeypatch.setenv("DATABASE_URL", granted)
    assert main(["migrate"]) == 2
    needed = "run with that one, gives another role the rights that `cvms serve` needs"
    assert needed in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["--fresh"]], ids=["new", "fresh"])
def test_a_rebuild_by_the_role_says_who_has_to_run_it(
    granted: str, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    if command:
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as owner:
            owner.execute("CREATE SCHEMA cvms_rebuild")
    monkeypatch.setenv("DATABASE_URL", granted)
    assert main(["index", "rebuild", *command]) == 2
    assert "the schema cvms_rebuild: run this command with the role" in capsys.readouterr().err


@pytest.mark.usefixtures("role_of_test")
async def test_the_commands_of_the_page_make_a_database_that_the_role_can_serve(
    database_url: str, tmp_path: Path
) -> None:
    settings = {
        "OWNER_URL": database_url,
        "SERVICE_PASSWORD": "secret",
        "DATABASE_URL": database_url,
    }
    async with shell(tmp_path, programs_on_path() | settings) as commands:
        printed = await commands.run_all("upgrade.md", section="Before")
        assert "these would run:\n  0001_initial_tables.sql" in printed
        with psycopg.connect(database_url) as conn:
            assert conn.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            ).fetchone() == (0,)
        printed = await commands.run_all("upgrade.md", section="The database")
        assert "these were applied:\n  0001_initial_tables.sql" in printed
    async with open_database(_as_role(database_url)) as database:
        await database.prepare(migrate=False)
        await database.probe_write()
