"""Endpoints of integrators, and how far each of them has received the events in the outbox.

An endpoint of one vault is that of its owner; one of all vaults has no owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cvms.store.messaging.webhooks.event_messages import MAX_AGE
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    fetch_all,
    fetch_exactly_one,
    fetch_one,
    fetch_value,
    query_for,
)

State = Literal["active", "paused", "deactivated"]

FAILING = "nothing was delivered for a day"
GONE = "the endpoint replied with status 410"

# "hook" in ASCII, the key of the advisory lock under which endpoints are counted and added.
_LOCK = 0x686F6F6B


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRow:
    """An endpoint as stored, without its secrets. `owner`: None for all vaults."""

    id: str
    owner: str | None
    url: str
    topics: tuple[str, ...]
    state: State
    reason: str | None
    position: int
    tries: int
    due_at: datetime
    failing_since: datetime | None
    last_error: str | None
    delivered_at: datetime | None
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatus(EndpointRow):
    """An endpoint, and how much it has not received: messages up to the head, and held vaults."""

    behind: int
    held_vaults: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingEndpoint:
    """An endpoint as its sender needs it.

    `head` is the outbox's position now, `pause` the seconds until the endpoint is tried again.
    """

    id: str
    owner: str | None
    url: str
    topics: tuple[str, ...]
    position: int
    tries: int
    head: int
    pause: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a round of attempts has shown. Without an attempt, both are None.

    `tries` and `delay` say when an endpoint whose circuit is open is tried again.
    """

    delivered: bool = False
    error: str | None = None
    tries: int = 0
    delay: timedelta = timedelta(0)


LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"

# `topics` are TEXT[], which psycopg returns as a list.
ADD = query_for(
    EndpointRow,
    """
    INSERT INTO webhook_endpoints (owner, url, topics, position, created_by)
    SELECT %(owner)s, %(url)s, %(topics)s, position, %(created_by)s
    FROM outbox_head
    RETURNING {columns}
    """,
)

COUNT = """
SELECT count(*)
FROM webhook_endpoints
WHERE owner IS NOT DISTINCT FROM %(owner)s
"""

COUNT_OF_OWNERS = """
SELECT count(*)
FROM webhook_endpoints
WHERE owner IS NOT NULL
"""

GET = query_for(
    EndpointRow,
    """
    SELECT {columns}
    FROM webhook_endpoints
    WHERE id = %(id)s
    FOR UPDATE
    """,
)

_STATUS = """
    SELECT {columns:endpoint},
           greatest(0, head.position - endpoint.position) AS behind,
           (
               SELECT count(*)
               FROM webhook_held_vaults AS held
               WHERE held.endpoint = endpoint.id
           ) AS held_vaults
    FROM webhook_endpoints AS endpoint, outbox_head AS head
"""

PAGE = query_for(
    EndpointRow,
    f"""
    {_STATUS}
    WHERE endpoint.id > %(after)s
      AND (%(state)s::TEXT IS NULL OR endpoint.state = %(state)s)
    ORDER BY endpoint.id
    LIMIT %(limit)s
    """,
)

OF_OWNER = query_for(
    EndpointRow,
    f"""
    {_STATUS}
    WHERE endpoint.owner = %(owner)s
    ORDER BY endpoint.created_at, endpoint.id
    """,
)

FOR_SENDING = """
SELECT endpoint.id, endpoint.owner, endpoint.url, endpoint.topics, endpoint.position,
       endpoint.tries, head.position AS head,
       greatest(0, extract(epoch FROM endpoint.due_at - clock_timestamp()))::FLOAT8 AS pause
FROM webhook_endpoints AS endpoint, outbox_head AS head
WHERE endpoint.id = %(id)s
  AND endpoint.state = 'active'
"""

ACTIVE = """
SELECT id
FROM webhook_endpoints
WHERE state = 'active'
"""

COUNT_BY_STATE = """
SELECT CASE WHEN state = 'active' AND failing_since IS NOT NULL THEN 'failing' ELSE state END,
       count(*)
FROM webhook_endpoints
GROUP BY 1
"""

PAUSED = query_for(
    EndpointRow,
    """
    SELECT {columns}
    FROM webhook_endpoints
    WHERE state = 'paused'
    ORDER BY id
    LIMIT %(limit)s
    """,
)

# Only from where it was: another process may have moved it.
MOVE = """
UPDATE webhook_endpoints
SET position = %(to)s
WHERE id = %(id)s
  AND position = %(position)s
  AND state = 'active'
"""

MOVE_ALL = """
UPDATE webhook_endpoints
SET position = %(to)s
WHERE position = %(position)s
"""

LOCKED_POSITION = """
SELECT position
FROM webhook_endpoints
WHERE id = %(id)s
  AND state = 'active'
FOR UPDATE
"""

DELIVERED = """
UPDATE webhook_endpoints
SET tries = 0,
    due_at = clock_timestamp(),
    failing_since = NULL,
    delivered_at = clock_timestamp(),
    last_error = %(error)s
WHERE id = %(id)s
"""

FAILED = """
UPDATE webhook_endpoints
SET tries = %(tries)s,
    due_at = clock_timestamp() + %(delay)s,
    failing_since = coalesce(failing_since, clock_timestamp()),
    last_error = %(error)s,
    state = CASE WHEN failing_since <= clock_timestamp() - %(age)s THEN 'paused' ELSE state END,
    reason = CASE WHEN failing_since <= clock_timestamp() - %(age)s THEN %(failing)s END
WHERE id = %(id)s
RETURNING state
"""

SET_STATE = query_for(
    EndpointRow,
    """
    UPDATE webhook_endpoints
    SET state = %(state)s,
        reason = %(reason)s,
        tries = 0,
        due_at = clock_timestamp(),
        failing_since = NULL
    WHERE id = %(id)s
    RETURNING {columns}
    """,
)

DELETE = """
DELETE FROM webhook_endpoints
WHERE id = %(id)s
"""


async def lock(conn: Connection) -> None:
    """Let no one else add an endpoint until the transaction ends."""
    await conn.execute(LOCK, {"key": _LOCK})


async def count(conn: Connection, owner: str | None) -> int:
    """Return the number of endpoints of an owner, or of all vaults."""
    return int(await fetch_value(conn, COUNT, {"owner": owner}))


async def count_of_owners(conn: Connection) -> int:
    """Return the number of endpoints of all owners."""
    return int(await fetch_value(conn, COUNT_OF_OWNERS))


async def add(
    conn: Connection, *, owner: str | None, url: str, topics: Sequence[str], created_by: str
) -> EndpointRow:
    """Add an endpoint, which gets the events from now on."""
    params = {"owner": owner, "url": url, "topics": list(topics), "created_by": created_by}
    return await fetch_exactly_one(conn, EndpointRow, ADD, params)


async def get(conn: Connection, endpoint: str) -> EndpointRow | None:
    """Return an endpoint and lock it, None if there is none with this id."""
    return await fetch_one(conn, EndpointRow, GET, {"id": endpoint})


async def page(
    conn: Connection, *, state: str | None, after: str, limit: int
) -> list[EndpointStatus]:
    """Return up to `limit` endpoints with an id after `after`, in order of their ids."""
    params = {"state": state, "after": after, "limit": limit}
    return await fetch_all(conn, EndpointStatus, PAGE, params)


async def of_owner(conn: Connection, owner: str) -> list[EndpointStatus]:
    """Return the endpoints of an owner, oldest first."""
    return await fetch_all(conn, EndpointStatus, OF_OWNER, {"owner": owner})


async def for_sending(conn: Connection, endpoint: str) -> SendingEndpoint | None:
    """Return an active endpoint as its sender needs it, None if it is not active."""
    return await fetch_one(conn, SendingEndpoint, FOR_SENDING, {"id": endpoint})


async def active(conn: Connection) -> set[str]:
    """Return the ids of the active endpoints."""
    return {name for (name,) in await (await conn.execute(ACTIVE)).fetchall()}


async def count_by_state(conn: Connection) -> dict[str, int]:
    """Return the number of endpoints by state. Active ones that fail count as `failing`."""
    rows = await (await conn.execute(COUNT_BY_STATE)).fetchall()
    return {str(state): int(number) for state, number in rows}


async def paused(conn: Connection, limit: int) -> list[EndpointRow]:
    """Return up to `limit` endpoints that are paused since they failed for a day."""
    return await fetch_all(conn, EndpointRow, PAUSED, {"limit": limit})


async def move(conn: Connection, endpoint: str, position: int, *, to: int) -> bool:
    """Move an endpoint's position; return False if it is not active or not there any more."""
    params = {"id": endpoint, "position": position, "to": to}
    return (await conn.execute(MOVE, params)).rowcount == 1


async def move_all(conn: Connection, position: int, *, to: int) -> None:
    """Move the endpoints that have everything up to `position`, where no message follows."""
    await conn.execute(MOVE_ALL, {"position": position, "to": to})


async def locked_position(conn: Connection, endpoint: str) -> int | None:
    """Return the position of an active endpoint and keep it there until the transaction ends."""
    position: int | None = await fetch_value(conn, LOCKED_POSITION, {"id": endpoint})
    return position


async def record(conn: Connection, endpoint: str, health: Health) -> bool:
    """Record what a round has shown; return False if that has paused the endpoint."""
    if health.delivered:
        await conn.execute(DELIVERED, {"id": endpoint, "error": health.error})
    elif health.error is not None:
        params = {
            "id": endpoint,
            "tries": health.tries,
            "delay": health.delay,
            "error": health.error,
            "age": MAX_AGE,
            "failing": FAILING,
        }
        return bool(await fetch_value(conn, FAILED, params) == "active")
    return True


async def set_state(
    conn: Connection, endpoint: str, state: State, reason: str | None = None
) -> EndpointRow | None:
    """Set an endpoint's state, and forget its failures; None if there is no such endpoint."""
    params = {"id": endpoint, "state": state, "reason": reason}
    return await fetch_one(conn, EndpointRow, SET_STATE, params)


async def delete(conn: Connection, endpoint: str) -> bool:
    """Delete an endpoint with all that belongs to it; return whether there was one."""
    return (await conn.execute(DELETE, {"id": endpoint})).rowcount == 1
