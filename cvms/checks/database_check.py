"""Checks of the database: its server, the role's rights, and the schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from cvms.checks.finding import Finding, failure, ok, skipped, warning
from cvms.errors import ConfigurationError
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.driver.server_facts import (
    ServerFacts,
    read_server_facts,
    tables_not_writable,
    tables_of_others,
)
from cvms.store.postgres.migrate import read_status
from cvms.store.postgres.migrations import MigrationState, SchemaStatus

MINIMUM_VERSION = 14
OTHER_CONNECTIONS = 6
"""Of a process, beside DB_MAX_CONNECTIONS: the lease, notifications, long checks."""
CLOCK_TOLERANCE = timedelta(seconds=2)
"""Nonces, tokens and second factors are checked by both clocks."""
MIGRATIONS = "schema_migrations"
APPLY = "`cvms migrate`, or the next start unless MIGRATE=off,"
SHOWN = 5
"""Tables that a line names."""


async def database_findings(conn: Connection, *, pool_size: int | None) -> list[Finding]:
    """Check the server, the role and the schema. `pool_size` is DB_MAX_CONNECTIONS, if known.

    Raises psycopg.Error and DatabaseUnavailable.
    """
    before = datetime.now(UTC)
    facts = await read_server_facts(conn)
    middle = before + (datetime.now(UTC) - before) / 2
    found = [*server_findings(facts, local=middle, pool_size=pool_size)]
    others, closed = await tables_of_others(conn), await tables_not_writable(conn)
    if MIGRATIONS in closed:
        return [*found, _closed_finding(facts, closed)]
    try:
        state = await read_status(conn)
    except ConfigurationError as error:
        advice = "create a database for this service alone, and set DATABASE_URL to it"
        return [*found, failure("database_schema", str(error), advice, kind="another_schema")]
    found.append(schema_finding(state))
    return [*found, *rights_findings(facts, state, others=others, closed=closed)]


def server_findings(
    facts: ServerFacts, *, local: datetime, pool_size: int | None
) -> Iterator[Finding]:
    """Check the server. `local` is this machine's time when the facts were read."""
    if facts.version_number // 10_000 >= MINIMUM_VERSION:
        yield ok("database_version", facts.version)
    else:
        advice = f"upgrade the server to PostgreSQL {MINIMUM_VERSION} or later"
        yield failure("database_version", facts.version, advice)
    if facts.read_only:
        advice = "point DATABASE_URL at the primary server"
        yield failure("database_writable", "the server or the role is read-only", advice)
    if facts.encoding == "UTF8":
        yield ok("database_encoding", facts.encoding)
    else:
        advice = "create the database with ENCODING 'UTF8'"
        yield failure("database_encoding", facts.encoding, advice)
    yield from _durability_findings(facts)
    yield _connections_finding(facts, pool_size)
    difference = abs(facts.now - local)
    seen = f"{difference.total_seconds():.1f} s from this machine's"
    if difference <= CLOCK_TOLERANCE:
        yield ok("database_clock", seen)
    else:
        advice = "synchronize the clocks of both machines (NTP): nonces and tokens expire by them"
        yield warning("database_clock", seen, advice, kind="clock_differs")


def schema_finding(status: SchemaStatus) -> Finding:
    """Check the migrations that are applied against those of this version."""
    check = "database_migrations"
    newer, pending = ([each.version for each in them] for them in (status.newer, status.pending))
    if status.changed:
        seen = f"changed since they were applied: {_shown([each.file for each in status.changed])}"
        return failure(check, seen, "install the release again", kind="changed_schema")
    if status.state is MigrationState.NEWER_INCOMPATIBLE:
        return failure(
            check,
            f"the database has migrations that this version does not, {_shown(newer)}, after which "
            f"code has to know migration {status.oldest_code}",
            "run the version that applied them, or a later one",
            kind="newer_schema",
        )
    if not status.applied:
        return warning(check, "none is applied yet", f"{APPLY} applies them")
    if pending:
        seen = f"behind: {_shown(pending)} are not applied yet"
        return warning(check, seen, f"make a backup; {APPLY} applies them")
    if newer:
        return ok(check, f"of a newer version, {_shown(newer)}, with which this one works")
    return ok(check, f"equal: up to {status.code}")


def rights_findings(
    facts: ServerFacts, state: SchemaStatus, *, others: Sequence[str], closed: Sequence[str]
) -> Iterator[Finding]:
    """Check what the role may do. `others` are tables it does not own, `closed` not writable."""
    check, role = "database_rights", f"the role {facts.role}"
    if not state.applied and not facts.may_create:
        seen = f"{role} may not create tables in the schema {facts.schema or '(none)'}"
        yield failure(check, seen, "apply the migrations as another role, or grant CREATE to it")
    elif closed:
        yield _closed_finding(facts, closed)
    elif facts.may_create and not others:
        yield ok(check, f"{role} may migrate (DDL), read and write")
    elif state.pending:
        seen = f"{role} may read and write only, and migrations are not applied yet"
        yield failure(check, seen, "apply the migrations as the role that owns the tables")
    else:
        yield ok(check, f"{role} may read and write, not migrate (no DDL)")


def _closed_finding(facts: ServerFacts, closed: Sequence[str]) -> Finding:
    seen = f"the role {facts.role} may not read and write {_shown(closed)}"
    advice = "grant SELECT, INSERT, UPDATE and DELETE on all tables: `cvms migrate --grant-to` does"
    return failure("database_rights", seen, advice)


def unreachable(reason: str) -> list[Finding]:
    """Return the findings of a database that cannot be reached."""
    advice = (
        "start the server, create the database, and check DATABASE_URL, the network and the role's "
        "password"
    )
    return [
        failure("database_reachable", reason, advice),
        skipped("database", "no database"),
    ]


def _durability_findings(facts: ServerFacts) -> Iterator[Finding]:
    unsafe = [
        f"{name} = off"
        for name, value in (
            ("fsync", facts.fsync),
            ("full_page_writes", facts.full_page_writes),
        )
        if value == "off"
    ]
    if unsafe:
        seen = f"{', '.join(unsafe)}: a crash can lose or corrupt the books"
        advice = "set it to on (ALTER SYSTEM), and restart PostgreSQL"
        yield warning("database_durability", seen, advice, kind="database_not_durable")
    else:
        yield ok("database_durability", f"synchronous_commit = {facts.synchronous_commit}")


def _connections_finding(facts: ServerFacts, pool_size: int | None) -> Finding:
    check = "database_connections"
    if pool_size is None:
        return ok(check, f"{facts.connections} for all processes together")
    needed = pool_size + OTHER_CONNECTIONS
    seen = f"{facts.connections} for all, {needed} for each process"
    if needed > facts.connections:
        return failure(check, seen, "raise max_connections, or lower DB_MAX_CONNECTIONS")
    if 2 * needed > facts.connections:
        # A process is replaced by another one that starts before the first has ended.
        return warning(check, seen, "raise max_connections: a second process does not fit")
    return ok(check, seen)


def _shown(names: Sequence[object]) -> str:
    more = "" if len(names) <= SHOWN else f" and {len(names) - SHOWN} more"
    return ", ".join(map(str, names[:SHOWN])) + more
