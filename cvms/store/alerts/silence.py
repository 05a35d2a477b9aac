"""What the database shows of work that has not been done, whichever replica should have done it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_exactly_one

# Before the first snapshot, the first balance tells since when there is something to write.
READ = """
SELECT (
           SELECT extract(epoch FROM clock_timestamp() - until)::FLOAT8
           FROM leadership
       ) AS without_leader,
       (SELECT holder FROM leadership) AS last_leader,
       coalesce(
           (SELECT at FROM snapshot_head),
           (
               SELECT block_time
               FROM balance_history
               WHERE block_time IS NOT NULL
               ORDER BY block_time
               LIMIT 1
           )
       ) AS snapshot_at,
       (
           SELECT extract(epoch FROM clock_timestamp() - at)::FLOAT8
           FROM audit_logs
           WHERE id > coalesce((SELECT id FROM audit_signed_head), 0)
           ORDER BY id
           LIMIT 1
       ) AS unsigned_for,
       clock_timestamp() AS now
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """When regular work was last done. Spans are seconds; None if there is nothing to do.

    `without_leader`: since the last lease ended, negative while it lasts. `snapshot_at`: the last
    hour of which balances are stored. `unsigned_for`: the age of the oldest entry of the audit
    trail that no signed head covers.
    """

    without_leader: float | None
    last_leader: str | None
    snapshot_at: datetime | None
    unsigned_for: float | None
    now: datetime


async def traces(conn: Connection) -> Traces:
    """Return the traces of the work that is to be done regularly."""
    return await fetch_exactly_one(conn, Traces, READ, {})
