"""A database that was restored from a backup: what it must not number or accept a second time.

What was committed after the backup is gone, but clients have seen it. So all numbers of messages go
on far beyond those that were given out: clients that resume are told to start over. And whatever
takes effect once counts as used, since it may have been used after the backup.
"""

from __future__ import annotations

from cvms.store.messaging import outbox
from cvms.store.messaging.topics import ROW_WRITTEN, Topic
from cvms.store.messaging.webhooks import endpoints
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_value
from cvms.store.security import audit_log, nonces, second_factors

SKIPPED = 10**10
"""More messages than were ever sent between a backup and the loss. 900,000 times as many are the
integers that JavaScript holds exactly.
"""

# A promotion begins a timeline, as a recovery to a point in time does; a dump is read into another
# database, or makes the tables of this one anew. Some hosted servers do not tell the first part.
IDENTITY = """
SELECT concat_ws(
           '/',
           CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
               THEN (SELECT system_identifier FROM pg_control_system())
           END,
           own.oid,
           to_regclass('database_identity')::OID,
           left(pg_walfile_name(pg_current_wal_lsn()), 8)
       )
FROM pg_database AS own
WHERE own.datname = current_database()
"""

REMEMBER = """
INSERT INTO database_identity (identity)
VALUES (%(identity)s)
ON CONFLICT (id) DO NOTHING
"""

# The lock lets one of several replicas that start do the work.
REMEMBERED = """
SELECT identity
FROM database_identity
FOR UPDATE
"""

CHANGE = """
UPDATE database_identity
SET identity = %(identity)s,
    noticed_at = now()
"""


async def notice(conn: Connection) -> bool:
    """Call `continue_after` if this is not the database that was written to; return whether."""
    identity = await fetch_value(conn, IDENTITY)
    await conn.execute(REMEMBER, {"identity": identity})
    if await fetch_value(conn, REMEMBERED) == identity:
        return False
    await continue_after(conn, actor="service")
    return True


async def continue_after(conn: Connection, *, actor: str) -> None:
    """Give out no number again that may have been seen, and accept nothing that may be used."""
    identity = await fetch_value(conn, IDENTITY)
    await conn.execute(REMEMBER, {"identity": identity})
    await conn.execute(CHANGE, {"identity": identity})
    head = await outbox.skip(conn, SKIPPED, topics=[*Topic, ROW_WRITTEN])
    await endpoints.move_all(conn, head, to=head + SKIPPED)
    await nonces.use_up_all(conn)
    await second_factors.use_up_steps(conn)
    details = {"messages_skipped": SKIPPED}
    await audit_log.record(
        conn, actor=actor, action="continue_after_restore", owner=None, details=details
    )
