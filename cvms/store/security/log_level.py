"""The level of the log that an administrator has set for all processes, for a time."""

from __future__ import annotations

from datetime import timedelta

from cvms.log.level import HeldLevel
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_exactly_one, fetch_one

# Times are the database's, so that the clocks of the processes' machines do not matter.
SET = """
INSERT INTO log_level (level, until, set_by)
VALUES (%(level)s, clock_timestamp() + %(lasts)s, %(by)s)
ON CONFLICT (only_row) DO UPDATE
SET level = EXCLUDED.level,
    until = EXCLUDED.until,
    set_by = EXCLUDED.set_by
RETURNING level, until, extract(EPOCH FROM until - clock_timestamp())::FLOAT8 AS seconds_left
"""

READ = """
SELECT level, until, extract(EPOCH FROM until - clock_timestamp())::FLOAT8 AS seconds_left
FROM log_level
WHERE until > clock_timestamp()
"""


async def hold(conn: Connection, level: str, lasts: timedelta, *, by: str) -> HeldLevel:
    """Set the level for a time, instead of the one that was set before; return it."""
    params = {"level": level, "lasts": lasts, "by": by}
    return await fetch_exactly_one(conn, HeldLevel, SET, params)


async def read(conn: Connection) -> HeldLevel | None:
    """Return the level that holds now, None if each process has its configured one."""
    return await fetch_one(conn, HeldLevel, READ, {})
