"""How much of its disk PostgreSQL uses for this database, and for replicas that do not follow."""

from __future__ import annotations

from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_exactly_one

# A slot without a position keeps nothing. A standby has no position of its own to compare with.
READ = """
SELECT pg_database_size(current_database()) AS database,
       CASE
           WHEN pg_is_in_recovery() THEN 0
           ELSE coalesce(
               (
                   SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))
                   FROM pg_replication_slots
               ),
               0
           )
       END::BIGINT AS slot_wal
"""


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes of the database's files, and of the WAL that the slowest replication slot keeps."""

    database: int
    slot_wal: int


async def read(conn: Connection) -> DiskUse:
    """Return what is used now. PostgreSQL looks at each file of the database for it."""
    return await fetch_exactly_one(conn, DiskUse, READ, {})
