"""What a person who settles a quarantined submission needs to know of it, and of its owner."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_one, query_for
from cvms.store.submissions.in_flight import InFlight
from cvms.store.submissions.submissions import State


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementRow:
    """A signed submission. `age` is in seconds since it was signed."""

    message_hash: bytes
    signature: str
    landed_signature: str | None
    kind: str
    owner: str
    owners: list[str]
    state: State
    amount: int | None
    error: dict[str, Any] | None
    slot: int | None
    seen_slot: int | None
    since_slot: int
    last_valid_block_height: int
    sponsored_lamports: int | None
    created_at: datetime
    signed_at: datetime
    updated_at: datetime
    age: float
    request_id: str | None
    traceparent: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))

    @property
    def in_flight(self) -> InFlight:
        """The row as a change of its state names it."""
        names = InFlight.__dataclass_fields__
        return InFlight(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """A line of an owner's history."""

    signature: str
    kind: str
    amount: int
    balance_after: int | None
    slot: int
    commitment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of a transaction that the index has applied."""

    name: str
    slot: int
    commitment: str


_COLUMNS = """
SELECT message_hash, signature, landed_signature, kind, owner, owners, state, amount, error, slot,
       seen_slot, coalesce(since_slot, 0) AS since_slot, last_valid_block_height,
       sponsored_lamports, created_at, coalesce(signed_at, created_at) AS signed_at, updated_at,
       request_id, traceparent,
       extract(EPOCH FROM now() - coalesce(signed_at, created_at))::FLOAT8 AS age
FROM submissions
"""

FIND = f"""{_COLUMNS}
WHERE signature IS NOT NULL
  AND (signature = %(signature)s OR message_hash = %(message_hash)s)
"""

# The conditions on a literal state, so that the plan uses the partial index of those states.
_PAGE = """
  AND (created_at, message_hash) < (
      coalesce((SELECT created_at FROM submissions WHERE message_hash = %(before)s), 'infinity'),
      coalesce(%(before)s::BYTEA, '')
  )
ORDER BY created_at DESC, message_hash DESC
LIMIT %(limit)s
"""
QUARANTINED = f"{_COLUMNS}WHERE state = 'quarantined'{_PAGE}"
IN_FLIGHT = f"""{_COLUMNS}WHERE state IN ('pending', 'submitted', 'confirmed')
  AND state = %(state)s{_PAGE}"""

EVENTS = query_for(
    Event,
    """
    SELECT {columns}
    FROM chain_events
    WHERE signature = %(signature)s
    ORDER BY instruction_index, ordinal
    """,
)

MOVEMENTS = query_for(
    Movement,
    """
    SELECT {columns}
    FROM transactions
    WHERE owner = %(owner)s
      AND slot > %(after)s
      AND slot <= %(through)s
    ORDER BY slot, id
    LIMIT %(limit)s
    """,
)


async def find(
    conn: Connection, *, signature: str, message_hash: bytes | None = None
) -> SettlementRow | None:
    """Return the signed submission with this first signature, or with this hash of its message."""
    params = {"signature": signature, "message_hash": message_hash}
    return await fetch_one(conn, SettlementRow, FIND, params)


async def page(
    conn: Connection, *, state: State, limit: int, before: bytes | None = None
) -> list[SettlementRow]:
    """Return up to `limit` submissions that are quarantined, or in flight in this state.

    The newest come first. `before` is the message hash of the last one of the page before.
    """
    params = {"state": state, "limit": limit, "before": before}
    query = QUARANTINED if state is State.QUARANTINED else IN_FLIGHT
    return await fetch_all(conn, SettlementRow, query, params)


async def events(conn: Connection, signature: str) -> list[Event]:
    """Return the events of the transaction that the index has applied."""
    return await fetch_all(conn, Event, EVENTS, {"signature": signature})


async def movements(
    conn: Connection, owner: str, *, after: int, through: int, limit: int
) -> list[Movement]:
    """Return up to `limit` lines of the owner's history in slots after `after`, up to `through`."""
    params = {"owner": owner, "after": after, "through": through, "limit": limit}
    return await fetch_all(conn, Movement, MOVEMENTS, params)
