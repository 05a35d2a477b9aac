"""schema.sql, which people read, and the migrations, which the service applies, agree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.store.own_server import execute, server_binaries

SCHEMA = Path(__file__).parents[3] / "schema.sql"

# pg_dump writes a random key into each dump.
RANDOM_KEY = re.compile(r"^\\(un)?restrict .*$", re.MULTILINE)


def dump(uri: str) -> list[str]:
    """Return the lines of a dump: every definition, and every row but the applied migrations."""
    options = ["--no-owner", "--inserts", "--exclude-table-data=schema_migrations"]
    pg_dump = server_binaries()[0] / "pg_dump"
    done = subprocess.run([str(pg_dump), *options, uri], check=True, stdout=subprocess.PIPE)
    return RANDOM_KEY.sub("", done.stdout.decode()).splitlines()


async def test_schema_sql_gives_the_database_that_the_migrations_give(
    database_url: str, empty_database_url: str
) -> None:
    execute(empty_database_url, SCHEMA.read_text(encoding="utf-8"))
    migrated = dump(database_url)
    assert any("CREATE TABLE public.vaults" in line for line in migrated)
    assert dump(empty_database_url) == migrated
