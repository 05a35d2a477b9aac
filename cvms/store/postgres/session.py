"""Opens connections with the settings of every session of the service."""

from __future__ import annotations

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cvms.store.postgres.driver.connection import Connection

# The server's timeout fires first, so that a slow query ends in an error and keeps its connection.
ANSWER_GRACE_SECONDS = 0.5

# A replica that freezes in a transaction may hold the outbox's lock until the server ends it.
IDLE_IN_TRANSACTION_FACTOR = 3

SET_UP = """
SELECT set_config('statement_timeout', %(statement_timeout)s, FALSE),
       set_config('idle_in_transaction_session_timeout', %(idle_timeout)s, FALSE),
       set_config('TimeZone', 'UTC', FALSE)
"""


async def open_session(
    conninfo: str, *, connect_timeout: float, query_timeout: float
) -> Connection:
    """Return a connection in autocommit mode, with times in UTC and query timeouts on both sides.

    Durations are in seconds; a `connect_timeout` in `conninfo` takes precedence. Raises
    psycopg.OperationalError.
    """
    params = {
        "connect_timeout": str(connect_timeout),
        "application_name": "cvms",
        "client_encoding": "UTF8",
        **{key: str(value) for key, value in conninfo_to_dict(conninfo).items()},
    }
    connection = await Connection.connect(make_conninfo(**params), autocommit=True)
    connection.query_timeout = connect_timeout
    ready = False
    try:
        await connection.execute(
            SET_UP,
            {
                "statement_timeout": _milliseconds(query_timeout),
                "idle_timeout": _milliseconds(query_timeout * IDLE_IN_TRANSACTION_FACTOR),
            },
        )
        ready = True
    finally:
        if not ready:
            connection.finish()
    connection.query_timeout = query_timeout + ANSWER_GRACE_SECONDS
    return connection


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
