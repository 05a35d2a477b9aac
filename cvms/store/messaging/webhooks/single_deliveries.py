"""Deliveries to endpoints that are sent one by one: tests, those sent again, and those given up.

They are rows of the table of `webhook_deliveries`, and are sent without regard to the order of a
vault's events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from cvms.store.messaging.webhook_deliveries import AlertDelivery, DeliveryRow
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    delete_in_batches,
    fetch_all,
    fetch_exactly_one,
    fetch_one,
    fetch_value,
    query_for,
)

KEPT = 1_000
"""How many deliveries of an endpoint are kept that are not pending."""

# One of each endpoint, so that none waits for another's slow ones. Those that are due longest come
# first, or many endpoints that fail would leave no room for others.
TAKE = """
UPDATE webhook_deliveries AS delivery
SET tries = delivery.tries + 1,
    due_at = clock_timestamp() + %(lease)s
FROM webhook_endpoints AS endpoint
WHERE endpoint.id = delivery.endpoint
  AND delivery.id IN (
      SELECT due.id
      FROM webhook_endpoints
      CROSS JOIN LATERAL (
          SELECT id, due_at
          FROM webhook_deliveries
          WHERE webhook_deliveries.endpoint = webhook_endpoints.id
            AND webhook_deliveries.state = 'pending'
            AND webhook_deliveries.due_at <= clock_timestamp()
          ORDER BY webhook_deliveries.due_at
          LIMIT 1
          FOR UPDATE SKIP LOCKED
      ) AS due
      WHERE webhook_endpoints.state <> 'deactivated'
      ORDER BY due.due_at
      LIMIT %(limit)s
  )
RETURNING delivery.id, delivery.endpoint, delivery.event, delivery.body, delivery.tries,
          endpoint.url,
          clock_timestamp() - coalesce(delivery.resent_at, delivery.created_at) AS age
"""

ADD = query_for(
    DeliveryRow,
    """
    INSERT INTO webhook_deliveries (id, endpoint, event, body)
    VALUES (%(id)s, %(endpoint)s, %(event)s, %(body)s)
    ON CONFLICT (id) DO UPDATE SET
        state = 'pending',
        tries = 0,
        last_error = NULL,
        due_at = clock_timestamp(),
        resent_at = clock_timestamp()
    RETURNING {columns}
    """,
)

RESEND = query_for(
    DeliveryRow,
    """
    UPDATE webhook_deliveries
    SET state = 'pending',
        tries = 0,
        last_error = NULL,
        due_at = clock_timestamp(),
        resent_at = clock_timestamp()
    WHERE id = %(id)s
      AND endpoint = %(endpoint)s
    RETURNING {columns}
    """,
)

ADD_GIVEN_UP = """
INSERT INTO webhook_deliveries (id, endpoint, event, body, state, tries, last_error)
VALUES (%(id)s, %(endpoint)s, %(event)s, %(body)s, 'given_up', %(tries)s, %(error)s)
ON CONFLICT (id) DO NOTHING
"""

COUNT_PENDING = """
SELECT count(*)
FROM webhook_deliveries
WHERE endpoint = %(endpoint)s
  AND state = 'pending'
"""

AMONG = query_for(
    DeliveryRow,
    """
    SELECT {columns}
    FROM webhook_deliveries
    WHERE id = ANY(%(ids)s)
    """,
)

# All but the newest of each endpoint that are not pending.
PRUNE = """
DELETE FROM webhook_deliveries
WHERE id IN (
    SELECT old.id
    FROM webhook_endpoints
    CROSS JOIN LATERAL (
        SELECT id
        FROM webhook_deliveries
        WHERE webhook_deliveries.endpoint = webhook_endpoints.id
          AND webhook_deliveries.state <> 'pending'
        ORDER BY created_at DESC, id DESC
        OFFSET %(kept)s
    ) AS old
    LIMIT %(limit)s
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDelivery(AlertDelivery):
    """A delivery to an endpoint at `url`."""

    endpoint: str
    url: str


async def take(conn: Connection, *, limit: int, lease: timedelta) -> list[EndpointDelivery]:
    """Take up to `limit` due deliveries to endpoints, one for each, leased for `lease`."""
    params = {"limit": limit, "lease": lease}
    return await fetch_all(conn, EndpointDelivery, TAKE, params)


async def add(
    conn: Connection, identity: UUID, *, endpoint: str, event: str, body: str
) -> DeliveryRow:
    """Add a delivery to an endpoint, or make the one with this id pending again."""
    params = {"id": identity, "endpoint": endpoint, "event": event, "body": body}
    return await fetch_exactly_one(conn, DeliveryRow, ADD, params)


async def resend(conn: Connection, identity: UUID, *, endpoint: str) -> DeliveryRow | None:
    """Make a delivery to an endpoint pending again; None if it has none with this id."""
    return await fetch_one(conn, DeliveryRow, RESEND, {"id": identity, "endpoint": endpoint})


async def add_given_up(
    conn: Connection,
    identity: UUID,
    *,
    endpoint: str,
    event: str,
    body: str,
    tries: int,
    error: str,
) -> None:
    """Add a delivery to an endpoint that has been given up."""
    params = {"id": identity, "endpoint": endpoint, "event": event, "body": body, "tries": tries}
    await conn.execute(ADD_GIVEN_UP, params | {"error": error})


async def count_pending(conn: Connection, endpoint: str) -> int:
    """Return how many single deliveries to an endpoint are pending."""
    return int(await fetch_value(conn, COUNT_PENDING, {"endpoint": endpoint}))


async def among(conn: Connection, ids: Sequence[UUID]) -> dict[UUID, DeliveryRow]:
    """Return those of these deliveries that there are, by id."""
    return {row.id: row for row in await fetch_all(conn, DeliveryRow, AMONG, {"ids": list(ids)})}


async def prune(conn: Connection) -> int:
    """Delete all but the newest of each endpoint that are not pending; return how many."""
    return await delete_in_batches(conn, PRUNE, {"kept": KEPT})
