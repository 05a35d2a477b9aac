"""Checks the stored aggregates against what they are sums of, and counts them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_exactly_one
from cvms.store.vaults.history import EFFECTS

CHECK = """
WITH effect AS (
    SELECT *
    FROM unnest(%(kind)s::TEXT[], %(total)s::INTEGER[]) AS effect (kind, total)
),
size AS (
    SELECT CASE total WHEN 0 THEN 0 ELSE length(total::TEXT) END AS digits,
           count(*) AS vaults, sum(total) AS total, sum(available) AS available,
           sum(locked) AS locked, sum(timelocked) AS timelocked,
           sum(yield_deposited) AS yield_deposited
    FROM vaults
    WHERE NOT closed
    GROUP BY 1
),
flow AS (
    SELECT start, bucket, kind, count, flows.amount, effect.total * flows.amount AS growth
    FROM flows
    JOIN effect USING (kind)
),
hour AS (
    SELECT start AS hour, sum(sum(growth)) OVER (ORDER BY start) AS tvl
    FROM flow
    WHERE bucket = 'hour'
    GROUP BY start
),
day_kind AS (
    SELECT date_trunc('day', start, 'UTC') AS day, kind,
           sum(count) FILTER (WHERE bucket = 'day') AS days,
           sum(amount) FILTER (WHERE bucket = 'day') AS day_amount,
           sum(count) FILTER (WHERE bucket = 'hour') AS hours,
           sum(amount) FILTER (WHERE bucket = 'hour') AS hour_amount
    FROM flow
    GROUP BY 1, 2
),
counter AS (
    SELECT kind, sum(days) AS count, sum(day_amount) AS amount
    FROM day_kind
    GROUP BY kind
)
SELECT coalesce((SELECT sum(total) FROM size), 0) AS rows,
       coalesce((SELECT sum(total) FROM vault_sizes), 0) AS sizes,
       coalesce((SELECT tvl FROM tvl_hours ORDER BY hour DESC LIMIT 1), 0) AS newest_hour,
       (
           SELECT count(*)
           FROM size
           FULL JOIN vault_sizes AS kept USING (digits)
           WHERE (coalesce(size.vaults, 0), coalesce(size.total, 0), coalesce(size.available, 0),
                  coalesce(size.locked, 0), coalesce(size.timelocked, 0),
                  coalesce(size.yield_deposited, 0))
              <> (coalesce(kept.vaults, 0), coalesce(kept.total, 0), coalesce(kept.available, 0),
                  coalesce(kept.locked, 0), coalesce(kept.timelocked, 0),
                  coalesce(kept.yield_deposited, 0))
       ) AS wrong_sizes,
       (
           SELECT count(*)
           FROM hour
           FULL JOIN tvl_hours AS kept USING (hour)
           WHERE hour.tvl IS DISTINCT FROM kept.tvl
       ) + (
           SELECT count(*)
           FROM day_kind
           WHERE (days, day_amount) IS DISTINCT FROM (hours, hour_amount)
       ) + (
           SELECT count(*)
           FROM counter
           FULL JOIN event_totals AS kept USING (kind)
           WHERE (coalesce(counter.count, 0), coalesce(counter.amount, 0))
              <> (coalesce(kept.count, 0), coalesce(kept.amount, 0))
       ) AS wrong_flows,
       coalesce((SELECT max(slot) FROM vaults), 0) AS slot,
       coalesce(
           (SELECT max(through) FROM indexer_cursor) >= (SELECT max(slot) FROM vaults), FALSE
       ) AS quiet
"""

# A writer of vaults changes the sizes last. One that has not yet waits, and adds to the new count.
LOCK_SIZES = "LOCK TABLE vault_sizes IN SHARE ROW EXCLUSIVE MODE"

CLEAR_SIZES = "DELETE FROM vault_sizes"

COUNT_SIZES = """
INSERT INTO vault_sizes (
    digits, vaults, total, available, locked, timelocked, yield_deposited
)
SELECT CASE total WHEN 0 THEN 0 ELSE length(total::TEXT) END, count(*), sum(total),
       sum(available), sum(locked), sum(timelocked), sum(yield_deposited)
FROM vaults
WHERE NOT closed
GROUP BY 1
"""

CLEAR_FLOWS = "DELETE FROM flows"
CLEAR_HOURS = "DELETE FROM tvl_hours"
CLEAR_TOTALS = "DELETE FROM event_totals"

COUNT_FLOWS = """
INSERT INTO flows (bucket, start, kind, count, amount)
SELECT bucket, date_trunc(bucket, at, 'UTC'), kind, count(*), sum(amount)
FROM (
    SELECT kind, amount, coalesce(max(block_time) OVER (ORDER BY slot, id), now()) AS newest,
           block_time
    FROM transactions
) AS line
CROSS JOIN LATERAL (VALUES (coalesce(block_time, newest))) AS timed (at)
CROSS JOIN (VALUES ('hour'), ('day')) AS buckets (bucket)
GROUP BY 1, 2, 3
"""

COUNT_HOURS = """
INSERT INTO tvl_hours (hour, tvl)
SELECT start, sum(sum(effect.total * flows.amount)) OVER (ORDER BY start)
FROM flows
JOIN unnest(%(kind)s::TEXT[], %(total)s::INTEGER[]) AS effect (kind, total) USING (kind)
WHERE bucket = 'hour'
GROUP BY start
"""

COUNT_TOTALS = """
INSERT INTO event_totals (kind, count, amount)
SELECT kind, count(*), sum(amount)
FROM transactions
GROUP BY kind
"""


@dataclass(frozen=True, slots=True)
class AggregateCounts:
    """The total of all vaults by their rows, by their sizes, and by the newest hour of the flows.

    `wrong_sizes` and `wrong_flows` count the aggregates that differ from what they are sums of,
    even if the totals agree. `quiet` means that no row is ahead of the events, so the newest hour
    should equal the rows. `slot` is that of the newest row.
    """

    rows: int
    sizes: int
    newest_hour: int
    wrong_sizes: int
    wrong_flows: int
    slot: int
    quiet: bool

    def __post_init__(self) -> None:
        for name in ("rows", "sizes", "newest_hour"):
            object.__setattr__(self, name, int(getattr(self, name)))

    def sizes_right(self, threshold: int) -> bool:
        """Return whether the sizes match the rows, or differ by at most `threshold` in total."""
        return not self.wrong_sizes or 0 < abs(self.rows - self.sizes) <= threshold

    def flows_right(self, threshold: int) -> bool:
        """Return whether the flows match the history, and end within `threshold` of the rows."""
        behind = abs(self.rows - self.newest_hour) if self.quiet else 0
        return not self.wrong_flows and behind <= threshold


async def check(conn: Connection) -> AggregateCounts:
    """Return the counts as of one moment: one statement is one snapshot."""
    return await fetch_exactly_one(conn, AggregateCounts, CHECK, _effects())


async def count_sizes(conn: Connection) -> None:
    """Count `vault_sizes` again from the rows. Call it in a transaction."""
    await conn.execute(LOCK_SIZES)
    await conn.execute(CLEAR_SIZES)
    await conn.execute(COUNT_SIZES)


async def count_flows(conn: Connection) -> None:
    """Count flows, TVL and totals again from the history. Call it under the cursor's lock."""
    await conn.execute(CLEAR_FLOWS)
    await conn.execute(CLEAR_HOURS)
    await conn.execute(CLEAR_TOTALS)
    await conn.execute(COUNT_FLOWS)
    await conn.execute(COUNT_HOURS, _effects())
    await conn.execute(COUNT_TOTALS)


def _effects() -> dict[str, Any]:
    return {"kind": list(EFFECTS), "total": [effect.total for effect in EFFECTS.values()]}
