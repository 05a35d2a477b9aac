"""The fees that the operator pays for others on each day, limited by a budget.

A transaction is charged in the database transaction that stores the operator's signature, and
refunded in the one that records that it never landed. All callers lock rows in one order: a day's
owners by name, then the row of all owners together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from cvms.errors import SponsorshipExhausted
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_exactly_one, fetch_one, fetch_value

ALL_OWNERS = ""

CLAIM = """
UPDATE submissions
SET sponsored_lamports = %(lamports)s,
    sponsored_owner = %(owner)s,
    sponsored_day = (now() AT TIME ZONE 'UTC')::DATE
WHERE message_hash = %(message_hash)s
  AND sponsored_lamports IS NULL
RETURNING sponsored_day AS day,
          ceil(extract(EPOCH FROM date_trunc('day', now(), 'UTC') + INTERVAL '1 day' - now()))::INT
              AS seconds_left
"""

# Returns no row if the limit would be exceeded.
SPEND = """
INSERT INTO sponsored (day, owner, lamports)
SELECT %(day)s, %(owner)s, %(lamports)s
WHERE %(lamports)s <= %(limit)s
ON CONFLICT (day, owner) DO UPDATE SET lamports = sponsored.lamports + EXCLUDED.lamports
WHERE sponsored.lamports + EXCLUDED.lamports <= %(limit)s
RETURNING lamports
"""

LEFT = """
SELECT coalesce(max(lamports) FILTER (WHERE owner = %(owner)s), 0) AS owner,
       coalesce(max(lamports) FILTER (WHERE owner = ''), 0) AS everybody,
       ceil(extract(EPOCH FROM date_trunc('day', now(), 'UTC') + INTERVAL '1 day' - now()))::INT
           AS seconds_left
FROM sponsored
WHERE day = (now() AT TIME ZONE 'UTC')::DATE
  AND owner IN (%(owner)s, '')
"""

REFUND = """
WITH due AS (
    SELECT sponsored_day AS day, payer.owner, sum(sponsored_lamports)::BIGINT AS lamports
    FROM submissions
    CROSS JOIN LATERAL (VALUES (sponsored_owner), ('')) AS payer (owner)
    WHERE signature = ANY(%(signatures)s)
      AND sponsored_lamports IS NOT NULL
      AND payer.owner IS NOT NULL
    GROUP BY sponsored_day, payer.owner
), locked AS (
    SELECT day, owner, due.lamports AS due
    FROM sponsored
    JOIN due USING (day, owner)
    ORDER BY day, owner = '', owner
    FOR UPDATE OF sponsored
)
UPDATE sponsored
SET lamports = greatest(sponsored.lamports - locked.due, 0)
FROM locked
WHERE sponsored.day = locked.day
  AND sponsored.owner = locked.owner
"""

SPENT = """
SELECT lamports
FROM sponsored
WHERE day = (now() AT TIME ZONE 'UTC')::DATE
  AND owner = %(owner)s
"""

PRUNE = """
DELETE FROM sponsored
WHERE day < (now() AT TIME ZONE 'UTC')::DATE - %(days)s
"""

UNBOUNDED = 2**62
"""Stands for no limit: more lamports than there are."""


@dataclass(frozen=True, slots=True)
class FeeBudget:
    """Limits in lamports of what the operator pays in a day (UTC), for one owner and for all.

    None means no limit.
    """

    owner: int | None
    everybody: int | None


@dataclass(frozen=True, slots=True)
class _Claimed:
    day: date
    seconds_left: int


@dataclass(frozen=True, slots=True)
class _Spent:
    owner: int
    everybody: int
    seconds_left: int


async def charge(
    conn: Connection,
    message_hash: bytes,
    lamports: int,
    *,
    owner: str | None,
    budget: FeeBudget,
) -> None:
    """Charge what the operator pays for this submission; a second call for it is a no-op.

    With `owner` None only the sum of all owners is charged. Raises SponsorshipExhausted if a budget
    would be exceeded; the database transaction must then be rolled back.
    """
    params = {"message_hash": message_hash, "lamports": lamports, "owner": owner}
    claimed = await fetch_one(conn, _Claimed, CLAIM, params)
    if claimed is None:
        return
    sums = [(ALL_OWNERS, budget.everybody)]
    if owner is not None:
        sums.insert(0, (owner, budget.owner))
    for payer, limit in sums:
        spent = {"day": claimed.day, "owner": payer, "lamports": lamports}
        spent["limit"] = UNBOUNDED if limit is None else limit
        if await fetch_value(conn, SPEND, spent) is None:
            raise exhausted(payer, claimed.seconds_left)


async def check(conn: Connection, owner: str, lamports: int, budget: FeeBudget) -> None:
    """Raise SponsorshipExhausted if `lamports` more would exceed what is left of the budget now."""
    spent = await fetch_exactly_one(conn, _Spent, LEFT, {"owner": owner})
    for payer, so_far, limit in (
        (owner, spent.owner, budget.owner),
        (ALL_OWNERS, spent.everybody, budget.everybody),
    ):
        if limit is not None and so_far + lamports > limit:
            raise exhausted(payer, spent.seconds_left)


async def refund(conn: Connection, signatures: Sequence[str]) -> None:
    """Refund what was charged for these submissions, which never landed.

    Call it once for each, in the transaction that marks it as expired.
    """
    await conn.execute(REFUND, {"signatures": list(signatures)})


async def spent_today(conn: Connection, owner: str = ALL_OWNERS) -> int:
    """Return the lamports charged today to this owner, or to all owners together."""
    return int(await fetch_value(conn, SPENT, {"owner": owner}) or 0)


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the days older than `age`; return how many rows."""
    return (await conn.execute(PRUNE, {"days": age.days})).rowcount


def exhausted(payer: str, seconds: int) -> SponsorshipExhausted:
    whose = "This owner has" if payer else "All owners together have"
    return SponsorshipExhausted(
        f"{whose} used up what the service pays in fees in a day. It resets in {seconds} s.",
        retry_after=max(seconds, 1),
    )
