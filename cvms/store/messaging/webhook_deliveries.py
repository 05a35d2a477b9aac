"""The queues of webhook deliveries to signers and operators.

A delivery is added in the transaction that it reports. Taking one leases it: no one else takes it
until it is due again. One whose outcome is not reported, since its process was killed, is retried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    delete_in_batches,
    fetch_all,
    fetch_exactly_one,
    fetch_one,
    query_for,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A delivery as stored, without its body.

    Without a signer and an endpoint, it is to the operators.
    """

    id: UUID
    signer: str | None
    endpoint: str | None
    event: str
    state: str
    tries: int
    last_error: str | None
    due_at: datetime
    created_at: datetime
    resent_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFailures:
    """Number of the messages to operators that fail, and why the newest of them does."""

    count: int
    error: str | None


ADD = """
INSERT INTO webhook_deliveries (signer, event, body)
SELECT signer, %(event)s, %(body)s
FROM signer_contacts
WHERE signer = ANY(%(signers)s)
"""

ADD_ALERT = """
INSERT INTO webhook_deliveries (signer, event, body)
VALUES (NULL, %(event)s, %(body)s)
"""

# Two replicas never take the same one: locked rows are skipped.
TAKE = """
UPDATE webhook_deliveries d
SET tries = tries + 1,
    due_at = clock_timestamp() + %(lease)s
FROM signer_contacts c
WHERE c.signer = d.signer
  AND d.id IN (
      SELECT id
      FROM webhook_deliveries
      WHERE state = 'pending'
        AND due_at <= clock_timestamp()
        AND signer IS NOT NULL
      ORDER BY due_at
      LIMIT %(limit)s
      FOR UPDATE SKIP LOCKED
  )
RETURNING d.id, d.signer, d.event, d.body, d.tries, c.url, c.secret,
          clock_timestamp() - coalesce(d.resent_at, d.created_at) AS age
"""

TAKE_ALERTS = """
UPDATE webhook_deliveries
SET tries = tries + 1,
    due_at = clock_timestamp() + %(lease)s
WHERE id IN (
    SELECT id
    FROM webhook_deliveries
    WHERE state = 'pending'
      AND due_at <= clock_timestamp()
      AND signer IS NULL
      AND endpoint IS NULL
    ORDER BY due_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
RETURNING id, event, body, tries, clock_timestamp() - coalesce(resent_at, created_at) AS age
"""

DELIVERED = """
UPDATE webhook_deliveries
SET state = 'delivered',
    last_error = NULL
WHERE id = %(id)s
"""

# An attempt that has failed says nothing about a message that was sent again meanwhile.
AGAIN = """
UPDATE webhook_deliveries
SET due_at = clock_timestamp() + %(delay)s,
    last_error = %(error)s
WHERE id = %(id)s
  AND state = 'pending'
  AND tries = %(tries)s
"""

GIVE_UP = """
UPDATE webhook_deliveries
SET state = 'given_up',
    last_error = %(error)s
WHERE id = %(id)s
  AND state = 'pending'
  AND tries = %(tries)s
"""

# Messages of the same transaction have the same time. Only the conditions that are asked for, so
# that the plan uses the index of a filter.
PAGE = query_for(
    DeliveryRow,
    """
    SELECT {columns}
    FROM webhook_deliveries
    WHERE TRUE
      {{conditions}}
    ORDER BY created_at DESC, id DESC
    LIMIT %(limit)s
    """,
)

BEFORE = """
AND (created_at, id) < (
    SELECT created_at, id
    FROM webhook_deliveries
    WHERE id = %(before)s
)
"""

# Due now. If an attempt is under way, the message may be sent twice.
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
    RETURNING {columns}
    """,
)

ADD_ONE = query_for(
    DeliveryRow,
    """
    INSERT INTO webhook_deliveries (signer, event, body)
    SELECT signer, %(event)s, %(body)s
    FROM (
        SELECT signer
        FROM signer_contacts
        WHERE signer = %(signer)s
        UNION ALL
        SELECT NULL
        WHERE %(signer)s::TEXT IS NULL
    ) AS recipient
    RETURNING {columns}
    """,
)

# A receiver may fail for moments, which deserves no alert. After a day they are old news.
ALERT_FAILURES = """
SELECT count(*) AS count, (array_agg(last_error ORDER BY created_at DESC))[1] AS error
FROM webhook_deliveries
WHERE signer IS NULL
  AND endpoint IS NULL
  AND (state = 'given_up' OR (state = 'pending' AND last_error IS NOT NULL AND tries >= 3))
  AND coalesce(resent_at, created_at) > now() - INTERVAL '1 day'
"""

PRUNE = """
DELETE FROM webhook_deliveries
WHERE id IN (
    SELECT id
    FROM webhook_deliveries
    WHERE created_at < now() - %(age)s
    ORDER BY created_at
    LIMIT %(limit)s
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDelivery:
    """A delivery to the operators. `tries` includes the current one."""

    id: UUID
    event: str
    body: str
    tries: int
    age: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(AlertDelivery):
    """A delivery to a signer at `url`; `secret` is encrypted."""

    signer: str
    url: str
    secret: bytes


async def add(conn: Connection, signers: Sequence[str], *, event: str, body: str) -> None:
    """Add a delivery for each of the signers that has a webhook."""
    await conn.execute(ADD, {"signers": list(signers), "event": event, "body": body})


async def add_alert(conn: Connection, *, event: str, body: str) -> None:
    """Add a delivery for the operators."""
    await conn.execute(ADD_ALERT, {"event": event, "body": body})


async def take(conn: Connection, *, limit: int, lease: timedelta) -> list[Delivery]:
    """Take up to `limit` due deliveries to signers, leased for `lease`."""
    return await fetch_all(conn, Delivery, TAKE, {"limit": limit, "lease": lease})


async def take_alerts(conn: Connection, *, limit: int, lease: timedelta) -> list[AlertDelivery]:
    """Take up to `limit` due deliveries to operators, whose slow webhook must not delay signers."""
    return await fetch_all(conn, AlertDelivery, TAKE_ALERTS, {"limit": limit, "lease": lease})


async def delivered(conn: Connection, delivery: UUID) -> None:
    """Mark the delivery as delivered."""
    await conn.execute(DELIVERED, {"id": delivery})


async def try_again(
    conn: Connection, delivery: AlertDelivery, *, delay: timedelta, error: str
) -> None:
    """Record that an attempt has failed; the delivery is due again after `delay`."""
    params = {"id": delivery.id, "tries": delivery.tries, "delay": delay, "error": error}
    await conn.execute(AGAIN, params)


async def give_up(conn: Connection, delivery: AlertDelivery, *, error: str) -> None:
    """Record that an attempt has failed, and give the delivery up."""
    params = {"id": delivery.id, "tries": delivery.tries, "error": error}
    await conn.execute(GIVE_UP, params)


async def page(
    conn: Connection,
    *,
    limit: int,
    state: str | None = None,
    operators: bool = False,
    signer: str | None = None,
    endpoint: str | None = None,
    before: UUID | None = None,
) -> list[DeliveryRow]:
    """Return up to `limit` deliveries, newest first, older than `before`."""
    filters = {"state": state, "signer": signer, "endpoint": endpoint, "before": before}
    query = page_query(
        state=state, operators=operators, signer=signer, endpoint=endpoint, before=before
    )
    params = filters | {"limit": limit}
    return await fetch_all(conn, DeliveryRow, query, params)


def page_query(
    *,
    state: str | None,
    operators: bool,
    signer: str | None,
    before: UUID | None,
    endpoint: str | None = None,
) -> LiteralString:
    """Return the query of a page with these filters."""
    conditions: LiteralString = ""
    if state is not None:
        conditions += "AND state = %(state)s "
    if operators:
        conditions += "AND signer IS NULL AND endpoint IS NULL "
    if signer is not None:
        conditions += "AND signer = %(signer)s "
    if endpoint is not None:
        conditions += "AND endpoint = %(endpoint)s "
    if before is not None:
        conditions += BEFORE
    return PAGE.replace("{conditions}", conditions)


async def resend(conn: Connection, delivery: UUID) -> DeliveryRow | None:
    """Make a delivery pending again, as if it was new; None if there is no such delivery."""
    return await fetch_one(conn, DeliveryRow, RESEND, {"id": delivery})


async def add_one(
    conn: Connection, signer: str | None, *, event: str, body: str
) -> DeliveryRow | None:
    """Add a delivery to a signer, or to the operators; None if the signer has no webhook."""
    return await fetch_one(
        conn, DeliveryRow, ADD_ONE, {"signer": signer, "event": event, "body": body}
    )


async def alert_failures(conn: Connection) -> AlertFailures:
    """Return how many messages to operators of today failed three times and are not delivered."""
    return await fetch_exactly_one(conn, AlertFailures, ALERT_FAILURES, {})


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the deliveries older than `age` in any state; return how many."""
    return await delete_in_batches(conn, PRUNE, {"age": age})
