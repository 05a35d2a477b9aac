"""The submissions in flight, as the submitter reads and changes them.

A change is decided on a row as it was read, and made only if the row is still the same: two
replicas that see different things neither undo nor repeat each other's changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_column
from cvms.store.submissions.submissions import State

IN_FLIGHT = """
SELECT signature, kind, owner, state, last_valid_block_height, amount, slot,
       coalesce(since_slot, 0) AS since_slot, seen_slot,
       extract(EPOCH FROM now() - coalesce(signed_at, created_at))::FLOAT8 AS age
FROM submissions
WHERE state IN ('pending', 'submitted', 'confirmed')
ORDER BY created_at
LIMIT %(limit)s
"""

APPLIED = """
SELECT signature, max(slot) AS slot, bool_and(commitment = 'finalized') AS final
FROM chain_events
WHERE signature = ANY(%(signatures)s)
GROUP BY signature
"""

# Of an owner, by other transactions than those that were submitted here.
FOREIGN = """
SELECT DISTINCT event.signature
FROM transactions AS event
LEFT JOIN submissions
  ON submissions.signature = event.signature
WHERE event.owner = %(owner)s
  AND event.slot > %(after)s
  AND event.slot <= %(through)s
  AND submissions.signature IS NULL
LIMIT %(limit)s
"""

WIRES = """
SELECT signature, wire
FROM submissions
WHERE signature = ANY(%(signatures)s)
"""

# In one order for all callers that change several rows, so that no two can deadlock.
CHANGE = """
WITH given AS (
    SELECT signature, was, was_slot, state, slot, error, landed_signature
    FROM unnest(
        %(signature)s::TEXT[], %(was)s::TEXT[], %(was_slot)s::BIGINT[], %(state)s::TEXT[],
        %(slot)s::BIGINT[], %(error)s::JSONB[], %(landed_signature)s::TEXT[]
    ) AS given (signature, was, was_slot, state, slot, error, landed_signature)
), locked AS (
    SELECT submissions.signature, given.state, given.slot, given.error, given.landed_signature
    FROM submissions
    JOIN given ON given.signature = submissions.signature
    WHERE submissions.state = given.was
      AND submissions.slot IS NOT DISTINCT FROM given.was_slot
    ORDER BY submissions.signature
    FOR UPDATE OF submissions
)
UPDATE submissions
SET state = locked.state,
    slot = locked.slot,
    seen_slot = coalesce(locked.slot, submissions.seen_slot),
    error = locked.error,
    landed_signature = locked.landed_signature,
    confirmed_at = CASE
        WHEN locked.state IN ('confirmed', 'finalized')
        THEN coalesce(submissions.confirmed_at, now())
        ELSE submissions.confirmed_at
    END,
    updated_at = now()
FROM locked
WHERE submissions.signature = locked.signature
RETURNING submissions.signature
"""

COUNT_BY_STATE = """
SELECT state, count(*) AS count,
       max(extract(EPOCH FROM now() - coalesce(signed_at, created_at)))::FLOAT8 AS oldest
FROM submissions
WHERE state IN ('pending', 'submitted', 'confirmed')
GROUP BY state
UNION ALL
SELECT 'quarantined', count(*), 0
FROM submissions
WHERE state = 'quarantined'
"""

COUNTED = ("pending", "submitted", "confirmed", "quarantined")
"""The states that `count_by_state` counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """A signed submission that is not final.

    Its block can only be after `since_slot`; `slot` is the block it is in as far as is known, and
    `seen_slot` the last one it was seen in. `age` is in seconds since it was signed.
    """

    signature: str
    kind: str
    owner: str
    state: State
    last_valid_block_height: int
    amount: int | None
    slot: int | None
    since_slot: int
    seen_slot: int | None
    age: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))


@dataclass(frozen=True, slots=True)
class StateChange:
    """The new state of a submission that was read as `row`.

    `landed_signature` is the one under which its message landed, if that is not its own.
    """

    row: InFlight
    state: State
    slot: int | None = None
    error: dict[str, Any] | None = None
    landed_signature: str | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """A transaction whose events are recorded; `final` once its block is."""

    signature: str
    slot: int
    final: bool


@dataclass(frozen=True, slots=True)
class Count:
    """The number of submissions in a state, and the age of the oldest in seconds."""

    state: str
    count: int
    oldest: float


async def read(conn: Connection, limit: int = 256) -> list[InFlight]:
    """Return up to `limit` signed submissions that are not final, oldest first."""
    return await fetch_all(conn, InFlight, IN_FLIGHT, {"limit": limit})


async def applied(conn: Connection, signatures: Sequence[str]) -> list[Applied]:
    """Return those transactions that the index has applied, and that have events."""
    return await fetch_all(conn, Applied, APPLIED, {"signatures": list(signatures)})


async def foreign(
    conn: Connection, *, owner: str, after: int, through: int, limit: int
) -> list[str]:
    """Return up to `limit` of the owner's recorded transactions that were not submitted here.

    They are of slots after `after`, up to `through`.
    """
    params = {"owner": owner, "after": after, "through": through, "limit": limit}
    return await fetch_column(conn, FOREIGN, params)


async def wires(conn: Connection, signatures: Sequence[str]) -> dict[str, bytes]:
    """Return the signed transactions by signature."""
    cursor = await conn.execute(WIRES, {"signatures": list(signatures)})
    return {signature: bytes(wire) for signature, wire in await cursor.fetchall()}


async def count_by_state(conn: Connection) -> list[Count]:
    """Count the submissions in flight or quarantined, by state."""
    return await fetch_all(conn, Count, COUNT_BY_STATE, {})


async def apply_changes(conn: Connection, changes: Sequence[StateChange]) -> list[StateChange]:
    """Make the changes whose row is still as it was read; return those, in the order given."""
    if not changes:
        return []
    errors = [None if each.error is None else Jsonb(each.error) for each in changes]
    params = {
        "signature": [each.row.signature for each in changes],
        "was": [each.row.state.value for each in changes],
        "was_slot": [each.row.slot for each in changes],
        "state": [each.state.value for each in changes],
        "slot": [each.slot for each in changes],
        "error": errors,
        "landed_signature": [each.landed_signature for each in changes],
    }
    made = set(await fetch_column(conn, CHANGE, params))
    return [each for each in changes if each.row.signature in made]
