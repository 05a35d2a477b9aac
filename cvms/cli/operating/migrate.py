"""`cvms migrate`, which applies this release's migrations, and `cvms restored`, after a restore."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from cvms.cli.arguments import Commands, add_command
from cvms.cli.environment import read_environment
from cvms.cli.proof_files import read_log
from cvms.config.loader import load_database_url
from cvms.errors import ConfigurationError, ProofInvalid, SchemaMismatch, one_line

if TYPE_CHECKING:
    from cvms.store.postgres.migrations import AppliedMigration, Migration, SchemaStatus

MIGRATE_HELP = """\
Apply the migrations that the database of DATABASE_URL lacks: all of them in one transaction, or
none. The role of DATABASE_URL has to own the tables. The service may run meanwhile: a statement
that cannot lock a table within two seconds gives way, and everything is tried again; who blocks it
is printed. Of several processes that migrate, one does, and the others wait for it.

A migration is an expansion, after which the release before keeps working, or a contraction, after
which only newer code starts.

With --grant-to, a role gets the rights that serving needs and no others: to read and write rows,
but not to change the schema, the list of migrations, or entries of the audit trail. Whoever has
these rights gets them on the tables of later migrations too.

Exit status: 0 if nothing is pending any more, or with --dry-run if all that is pending can be
applied; 1 if something cannot be applied, a table stays locked, an applied migration's file has
changed, the database needs a newer release, or it is unavailable; 2 for a bad setting or argument.
"""


RESTORED_HELP = """\
Say that the database of DATABASE_URL was restored from a backup, or replaces one that was lost.
What was written after the backup is gone, but clients have seen it. So the numbers of messages go
on far beyond those that were given out, and whoever resumes a subscription is told to start over;
nonces, and the codes of second factors that are valid now, count as used. The audit trail says so.

`cvms serve` does this by itself when it finds its database on another server, under another number,
with tables that were made anew, or on a server that was promoted or recovered to a point in time.
This command is for what it cannot see: a new database in the place of a lost one, rows that were
read into the tables that were there, or a copy of the server's files.

Entries of the log of proofs that were published after the backup are lost, and the next one would
fork the log. With --proofs they are taken from a copy of it, as /api/proofs/log gives it. Do that
before the service starts again.

Exit status: 0 if it was done; 1 if the database is unavailable, or has no schema; 2 for a bad
setting or argument.
"""


def add_commands(commands: Commands) -> None:
    migrate = add_command(commands, "migrate", "apply the database's migrations", MIGRATE_HELP)
    migrate.add_argument(
        "--dry-run", action="store_true", help="print what would run, and change nothing"
    )
    migrate.add_argument(
        "--grant-to", metavar="ROLE", help="role that gets the rights that `cvms serve` needs"
    )
    migrate.add_argument("--json", action="store_true", help="print one JSON object")
    migrate.set_defaults(run=cmd_migrate)
    restored = add_command(
        commands, "restored", "say that the database was restored or replaced", RESTORED_HELP
    )
    restored.add_argument(
        "--proofs", type=Path, metavar="FILE", help="copy of the log of proofs, with what is lost"
    )
    restored.set_defaults(run=cmd_restored)


def cmd_migrate(options: argparse.Namespace) -> int:
    from cvms.store.postgres.database import open_database  # noqa: PLC0415
    from cvms.store.postgres.migrate import apply_schema, read_status  # noqa: PLC0415

    url = load_database_url(read_environment())

    async def run() -> tuple[SchemaStatus, SchemaStatus]:
        async with open_database(url) as database, database.migrating() as (conn, watcher):
            before = await read_status(conn)
            before.check()
            if options.dry_run:
                return before, before
            before = await apply_schema(
                conn, watcher=watcher, grant_to=options.grant_to, report=_print_progress
            )
            return before, await read_status(conn)

    try:
        before, after = trio.run(run)
    except SchemaMismatch as error:
        print(f"cvms: {one_line(error)}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(_as_json(before, after), indent=2))
    else:
        print(_as_text(before, after, dry_run=options.dry_run))
    return 0


def cmd_restored(options: argparse.Namespace) -> int:
    from cvms.cli.database import open_with_schema  # noqa: PLC0415
    from cvms.proofs.stored_proofs import append_published  # noqa: PLC0415
    from cvms.store.messaging import restored  # noqa: PLC0415

    url = load_database_url(read_environment())
    log = read_log(options.proofs) if options.proofs else []

    async def run() -> int:
        async with (
            open_with_schema(url) as database,
            database.dedicated() as conn,
            conn.transaction(),
        ):
            await restored.continue_after(conn, actor="cvms restored")
            return await append_published(conn, log)

    try:
        added = trio.run(run)
    except ProofInvalid as error:
        raise ConfigurationError(f"--proofs {options.proofs}: {error}") from None
    print(
        "numbers of messages go on beyond those that were given out; nonces and codes are used up"
    )
    if options.proofs:
        print(f"{added} entries of the log of proofs were added")
    return 0


def _print_progress(event: str, **about: Any) -> None:
    match event:
        case "schema_lock_awaited":
            line = "another process applies migrations; waiting for it"
        case "migration_started":
            line = f"migration {about['version']} ({about['subject']}) ..."
        case "migration_running":
            line = f"migration {about['version']} runs for {about['seconds']} s"
        case "migration_applied":
            line = f"migration {about['version']} done in {about['seconds']} s"
        case "migration_blocked":
            line = (
                f"a table is locked by {about['by']}; everything is undone, and tried again "
                f"in {about['again_in']} s"
            )
        case _:
            raise AssertionError(event)
    print(line, file=sys.stderr, flush=True)


def _as_text(before: SchemaStatus, after: SchemaStatus, *, dry_run: bool) -> str:
    lines = [f"the database has {len(after.applied)} migrations: {after.state}"]
    lines += [f"  {each.version:04} {each.name}: of a newer release" for each in after.newer]
    if not before.pending:
        return "\n".join([*lines, "nothing is pending"])
    lines.append("these would run:" if dry_run else "these were applied:")
    for each in before.pending:
        lines.append(f"  {each.file}: {each.name} ({_kind(each)})")
        if dry_run and before.applied:
            lines += [f"    {line}".rstrip() for line in each.sql.splitlines()[1:]]
    return "\n".join(lines)


def _kind(migration: Migration) -> str:
    if migration.oldest_code is None:
        return "expansion"
    return f"contraction: needs code that knows migration {migration.oldest_code}"


def _as_json(before: SchemaStatus, after: SchemaStatus) -> dict[str, Any]:
    return {
        "state": after.state,
        "code": after.code,
        "oldest_code": after.oldest_code,
        "applied": [_applied(each) for each in after.applied],
        "newer": [_applied(each) for each in after.newer],
        "pending": [_pending(each) for each in after.pending],
        "ran": [_pending(each) for each in before.pending if each not in after.pending],
    }


def _applied(migration: AppliedMigration) -> dict[str, Any]:
    return {"version": migration.version, "name": migration.name}


def _pending(migration: Migration) -> dict[str, Any]:
    return {
        "version": migration.version,
        "name": migration.name,
        "file": migration.file,
        "oldest_code": migration.oldest_code,
        "sql": migration.sql,
    }
