"""How long submissions take from their signature to a confirmed block."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all

# Of each bucket the newest, so that a month is as quick to read as a day.
PERCENTILES = """
SELECT start,
       (
           SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds)
           FROM (
               SELECT extract(EPOCH FROM confirmed_at - signed_at)::FLOAT8 AS seconds
               FROM submissions
               WHERE confirmed_at >= start
                 AND confirmed_at < start + %(step)s::INTERVAL
                 AND signed_at IS NOT NULL
               ORDER BY confirmed_at DESC
               LIMIT %(sample)s
           ) AS newest
       ) AS p95
FROM generate_series(
    %(since)s::TIMESTAMPTZ, %(until)s::TIMESTAMPTZ - INTERVAL '1 microsecond', %(step)s::INTERVAL
) AS bucket (start)
ORDER BY start
"""

SAMPLE = 500
"""Submissions of a bucket that are looked at, the newest."""


@dataclass(frozen=True, slots=True)
class ConfirmationPoint:
    """The 95th percentile of a bucket in seconds, None if nothing was confirmed in it."""

    start: datetime
    p95: float | None


async def percentiles(
    conn: Connection, *, since: datetime, until: datetime, step: timedelta
) -> list[ConfirmationPoint]:
    """Return a point for each bucket of `step` in [since, until)."""
    params = {"since": since, "until": until, "step": step, "sample": SAMPLE}
    return await fetch_all(conn, ConfirmationPoint, PERCENTILES, params)
