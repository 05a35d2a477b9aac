"""Opens connections with the settings of every session of the service."""

from __future__ import annotations

import psycopg
from psycopg._conninfo_utils import get_param
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cvms.metrics.database_metrics import PoolMetrics
from cvms.store.postgres.driver.connection import Connection

# The server's timeout fires first, so that a slow query ends in an error and keeps its connection.
ANSWER_GRACE_SECONDS = 0.5

# A replica that freezes in a transaction may hold the outbox's lock until the server ends it.
IDLE_IN_TRANSACTION_FACTOR = 3

SETTINGS = {
    # How values are written and read.
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    # What a transaction does, and what ends it.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "synchronous_commit": "on",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "exit_on_error": "off",
    "plpgsql.extra_errors": "none",
    # Else no trigger and no foreign key works. Only superusers may change it.
    "session_replication_role": "origin",
    # A policy that hides rows would give wrong balances: the query has to fail instead.
    "row_security": "off",
}
"""Settings that the service depends on, whatever ALTER DATABASE and ALTER ROLE say.

Two settings are the administrator's: `search_path` says in which schema the tables are, and
`default_transaction_read_only` keeps the service from a server that must not be written to.
"""

READS_ONLY = {
    "default_transaction_isolation": "repeatable read",
    "default_transaction_read_only": "on",
}

# Settings of other releases of PostgreSQL are left out. Whoever waits for more than the own disk
# (`remote_apply`), or for less on purpose (`local`), keeps that, but commits must not get lost.
SET_UP = """
SELECT set_config(name, value, FALSE)
FROM unnest(%(names)s::TEXT[], %(values)s::TEXT[]) AS setting (name, value)
WHERE current_setting(name, TRUE) IS NOT NULL
  AND (name <> 'session_replication_role' OR current_setting(name) <> value)
  AND (name <> 'synchronous_commit' OR current_setting(name) = 'off')
"""


async def open_session(
    conninfo: str,
    *,
    connect_timeout: float,
    query_timeout: float,
    schema: str | None = None,
    reads_only: bool = False,
    metrics: PoolMetrics | None = None,
) -> Connection:
    """Return a connection in autocommit mode with SETTINGS, and query timeouts on both sides.

    Its tables are those of `schema` if that is given. Durations are in seconds; a
    `connect_timeout` in `conninfo` takes precedence. Only servers that can be written to are
    accepted, unless `conninfo` has other `target_session_attrs`. With `reads_only` any server is,
    and each transaction reads from one snapshot. Raises psycopg.OperationalError.
    """
    given = {key: str(value) for key, value in conninfo_to_dict(conninfo).items()}
    attrs = get_param(given, "target_session_attrs") or "read-write"
    params = {
        "connect_timeout": str(connect_timeout),
        "application_name": "cvms",
        "target_session_attrs": "any" if reads_only else attrs,
        **given,
        "client_encoding": "UTF8",  # whatever `conninfo` has: arrays are written in it
    }
    connection = await Connection.connect(make_conninfo(**params), autocommit=True)
    connection.query_timeout = connect_timeout
    settings = SETTINGS | {
        "statement_timeout": _milliseconds(query_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(
            query_timeout * IDLE_IN_TRANSACTION_FACTOR
        ),
    }
    if reads_only:
        settings |= READS_ONLY
    if schema is not None:
        settings["search_path"] = schema
    ready = False
    try:
        await connection.execute(
            SET_UP, {"names": list(settings), "values": list(settings.values())}
        )
        ready = True
    except psycopg.errors.InsufficientPrivilege as error:
        raise psycopg.OperationalError(str(error)) from error
    finally:
        if not ready:
            connection.finish()
    connection.query_timeout = query_timeout + ANSWER_GRACE_SECONDS
    connection.metrics = metrics
    return connection


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
