"""Sender of one endpoint: posts the events of the outbox to it, in order for each vault.

The endpoint has a position in the outbox, which moves over a page of events once they were tried. A
vault whose event fails is held at this event (`webhook_held_vaults`), and tried again later with
all that followed it, while the events of others go on. So a failure costs one row of each vault,
and an endpoint that fails altogether costs nothing: its circuit opens, and its position stays.

A process that is killed has recorded less than it has sent. The rest is sent again, with the same
ids.
"""

from __future__ import annotations

import math
import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
import trio

from cvms.errors import DecryptionFailed, EncryptionDisabled
from cvms.metrics import Metrics
from cvms.nursery.channels.event_wakeup import woken_by
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.wakeups import Wakeup
from cvms.nursery.delivery.endpoint_circuit import EndpointCircuit
from cvms.nursery.delivery.send_pace import SendPace
from cvms.nursery.delivery.webhook_client import EndpointGone, NotDelivered
from cvms.nursery.delivery.webhook_connections import WebhookConnections
from cvms.nursery.delivery.webhook_dispatcher import retry_delay
from cvms.nursery.delivery.webhook_signature import signed_headers
from cvms.store.messaging.outbox import OutboxRow
from cvms.store.messaging.topics import Topic
from cvms.store.messaging.webhooks import (
    endpoint_secrets,
    endpoints,
    event_messages,
    held_vaults,
    single_deliveries,
)
from cvms.store.messaging.webhooks.endpoint_secrets import SealedSecret
from cvms.store.messaging.webhooks.endpoints import Health, SendingEndpoint
from cvms.store.messaging.webhooks.event_messages import EventMessage, event_message
from cvms.store.messaging.webhooks.held_vaults import Hold
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security.encryption import SecretBox
from cvms.store.submissions import submissions
from cvms.traces.spans import NO_TRACES, Traces
from cvms.traces.submission_spans import message_parent, webhook_span

log = structlog.get_logger(__name__)

PAGE_SIZE = 64
HELD_AT_ONCE = 8
"""Held vaults that are tried together, with at most EVENTS_OF_HELD events each."""
EVENTS_OF_HELD = 16
PROBES = 4
"""Held vaults that are tried while it is not known whether the endpoint works again."""
CONCURRENT = 8
"""Messages under way to one endpoint. Those of one vault follow each other."""
ROUND_SECONDS = 5.0
"""After which a round begins no further message, so that a slow vault delays others no longer."""
POLL_SECONDS = 60.0
"""Bound of the delay should a wake-up be lost."""
MAX_JUMP = 1_000
"""Positions without events for the endpoint that are passed before this is stored."""


class Superseded(Exception):
    """The endpoint is not active any more, or another process has moved it."""


@dataclass(frozen=True, slots=True)
class SendingContext:
    """What messages are made with: secrets, the events that retractions take back, and the traces
    of transactions.
    """

    secrets: Sequence[SealedSecret]
    retracted: Mapping[int, OutboxRow]
    traceparents: Mapping[str, str]


@dataclass(slots=True, kw_only=True, eq=False)
class VaultEvents:
    """The next events of one vault, and how often the first of them has failed."""

    owner: str
    rows: list[OutboxRow]
    tries: int = 0
    sent: int = 0
    error: str | None = None

    @property
    def next_position(self) -> int | None:
        """Position of the first event that was not sent, None if all were."""
        return self.rows[self.sent].position if self.sent < len(self.rows) else None


@dataclass(slots=True, kw_only=True, eq=False)
class EndpointSender:
    """Sends to one endpoint until it is deactivated, paused or deleted.

    `queries` limits how many senders use the database at once, whose connections others need.
    """

    endpoint: str
    database: Database
    secret_box: SecretBox
    hub: Hub
    metrics: Metrics
    private: bool
    context: ssl.SSLContext
    timeout: float
    queries: trio.CapacityLimiter
    pace: SendPace
    wall_clock: Callable[[], float]
    traces: Traces = NO_TRACES
    _circuit: EndpointCircuit = field(init=False)
    _connections: WebhookConnections = field(init=False)
    _slots: trio.CapacityLimiter = field(init=False)
    _held: Wakeup = field(default_factory=Wakeup, init=False)
    _passed: int = field(default=0, init=False)

    async def run(self) -> None:
        """Send until the endpoint is not active any more. Raises DatabaseUnavailable."""
        endpoint = await self.start()
        if endpoint is None:
            return
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._send_new, endpoint)
                tasks.start_soon(self._send_held)
        except* Superseded:
            log.info("endpoint_sender_ended", endpoint=self.endpoint)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await self.close()

    async def start(self) -> SendingEndpoint | None:
        """Read the endpoint and prepare to send; return None if it is not active."""
        async with self.queries, self.database.connection() as conn:
            endpoint = await endpoints.for_sending(conn, self.endpoint)
        if endpoint is None:
            return None
        self._circuit = EndpointCircuit(
            retry_delay, endpoint.tries, trio.current_time() + endpoint.pause
        )
        self._connections = WebhookConnections(
            url=endpoint.url, private=self.private, timeout=self.timeout, context=self.context
        )
        self._slots = trio.CapacityLimiter(CONCURRENT)
        self._passed = endpoint.position
        return endpoint

    async def close(self) -> None:
        """Close the connections to the endpoint."""
        await self._connections.close()

    async def _send_new(self, endpoint: SendingEndpoint) -> None:
        while True:
            # Subscribed before the round: an event that arrives during it causes the next one.
            with woken_by(self.hub, endpoint.topics, endpoint.owner) as wake:
                await trio.sleep(self._circuit.seconds_open)
                if not await self.send_new():
                    await wake.wait(POLL_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311

    async def _send_held(self) -> None:
        while True:
            await trio.sleep(self._circuit.seconds_open)
            seconds = await self.send_held()
            if seconds > 0:
                await self._held.wait(seconds)

    async def send_new(self) -> bool:
        """Try a page of new events; return whether there may be more. Raises Superseded."""
        limit = 1 if self._circuit.is_probing else PAGE_SIZE
        async with self.pace.turn(), self.queries, self.database.connection() as conn:
            endpoint = await self._read(conn)
            rows = await event_messages.after(
                conn,
                max(self._passed, endpoint.position),
                until=endpoint.head,
                owner=endpoint.owner,
                topics=endpoint.topics,
                limit=limit,
            )
            owners = list({row.owner or "" for row in rows})
            held = await held_vaults.among(conn, self.endpoint, owners) if rows else {}
            context = await self._context(conn, rows)
            self.pace.take(len(rows))
        full = len(rows) == limit
        self._passed = rows[-1].position if full else max(endpoint.head, endpoint.position)
        if not rows and self._passed - endpoint.position < MAX_JUMP:
            return False
        groups = _by_owner(rows)
        await self._send([each for each in groups if each.owner not in held], context)
        async with self.queries, self.database.transaction() as conn:
            if not await endpoints.move(conn, self.endpoint, endpoint.position, to=self._passed):
                raise Superseded
            holds = [await self._hold(conn, each, context) for each in groups]
            await held_vaults.add(conn, self.endpoint, [hold for hold in holds if hold])
            await self._record(conn)
        self._held.wake()
        return full

    async def send_held(self) -> float:
        """Try the held vaults that are due; return the seconds until another is due.

        Raises Superseded.
        """
        limit = PROBES if self._circuit.is_probing else HELD_AT_ONCE
        async with self.pace.turn(), self.queries, self.database.connection() as conn:
            endpoint = await self._read(conn)
            due = await held_vaults.due(conn, self.endpoint, limit=limit)
            if not due:
                return await held_vaults.seconds_until_due(conn, self.endpoint) or math.inf
            rows = await event_messages.held(
                conn,
                self.endpoint,
                [each.owner for each in due],
                until=endpoint.position,
                topics=endpoint.topics,
                limit=EVENTS_OF_HELD,
            )
            context = await self._context(conn, rows)
            self.pace.take(len(rows))
        tries = {each.owner: each.tries for each in due}
        groups = _by_owner(rows, tries)
        await self._send(groups, context)
        async with self.queries, self.database.transaction() as conn:
            position = await endpoints.locked_position(conn, self.endpoint)
            if position is None:
                raise Superseded
            holds = [await self._hold(conn, each, context) for each in groups]
            found = {each.owner: each for each in groups}
            # Of those of which all was sent there may be more events than were read, or newer ones.
            done = []
            for each in due:
                group = found.get(each.owner)
                if group is not None and group.next_position is not None:
                    continue
                if group is not None and len(group.rows) == EVENTS_OF_HELD:
                    last = group.rows[-1].position
                    holds.append(Hold(owner=each.owner, position=last + 1))
                elif position != endpoint.position:
                    holds.append(Hold(owner=each.owner, position=endpoint.position + 1))
                else:
                    done.append(each.owner)
            await held_vaults.move(conn, self.endpoint, [hold for hold in holds if hold])
            await held_vaults.remove(conn, self.endpoint, done)
            await self._record(conn)
        return 0.0

    async def _read(self, conn: Connection) -> SendingEndpoint:
        endpoint = await endpoints.for_sending(conn, self.endpoint)
        if endpoint is None:
            raise Superseded
        return endpoint

    async def _context(self, conn: Connection, rows: Sequence[OutboxRow]) -> SendingContext:
        if not rows:
            return SendingContext((), {}, {})
        secrets = await endpoint_secrets.valid(conn, self.endpoint)
        retracted = await event_messages.retracted_events(conn, rows)
        signatures = {row.signature for row in rows if row.signature is not None}
        traced = self.traces.enabled and signatures
        traceparents = await submissions.traceparents(conn, sorted(signatures)) if traced else {}
        return SendingContext(secrets, retracted, traceparents)

    # --- attempts ------------------------------------------------------------------------------

    async def _send(self, groups: Sequence[VaultEvents], context: SendingContext) -> None:
        """Try the events of each vault in order, until one fails or the time is up."""
        until = trio.current_time() + ROUND_SECONDS
        async with trio.open_nursery() as tasks:
            for group in groups:
                tasks.start_soon(self._send_vault, group, context, until)

    async def _send_vault(self, group: VaultEvents, context: SendingContext, until: float) -> None:
        async with self._slots:
            for row in group.rows:
                if self._circuit.is_open or trio.current_time() >= until:
                    return
                message = event_message(self.endpoint, row, context.retracted)
                try:
                    await self._post(message, row, context)
                except EndpointGone:
                    await self._deactivate()
                except (NotDelivered, DecryptionFailed, EncryptionDisabled) as error:
                    group.error = str(error)
                    self._circuit.failed(group.owner, group.error)
                    self._count(group, message)
                    return
                self._circuit.succeeded()
                group.sent += 1
                age = self.wall_clock() - row.created_at.timestamp()
                self.metrics.webhooks.messages.labels(outcome="delivered").inc()
                self.metrics.webhooks.delay_seconds.observe(max(0.0, age))

    async def _post(self, message: EventMessage, row: OutboxRow, context: SendingContext) -> None:
        body = message.body.encode()
        keys = endpoint_secrets.opened(context.secrets, self.secret_box)
        headers = signed_headers(str(message.id), body, keys, now=self.wall_clock())
        signature = row.signature or ""
        parent = message_parent(
            context.traceparents.get(signature),
            signature,
            of_events=row.topic != Topic.TRANSACTION,
        )
        if parent is None:
            await self._connections.post(headers, body)
            return
        with webhook_span(self.traces, parent, endpoint=self.endpoint) as traceparent:
            await self._connections.post(headers | {"traceparent": traceparent}, body)

    def _count(self, group: VaultEvents, message: EventMessage) -> None:
        self.metrics.webhooks.messages.labels(outcome="failed").inc()
        log.warning(
            "endpoint_message_failed",
            endpoint=self.endpoint,
            message=str(message.id),
            owner=group.owner,
            tries=group.tries + 1 if group.sent == 0 else 1,
            reason=group.error,
        )

    async def _deactivate(self) -> None:
        async with self.queries, self.database.connection() as conn:
            await endpoints.set_state(conn, self.endpoint, "deactivated", endpoints.GONE)
        log.warning("endpoint_deactivated", endpoint=self.endpoint, reason=endpoints.GONE)
        raise Superseded

    # --- what follows --------------------------------------------------------------------------

    async def _hold(
        self, conn: Connection, group: VaultEvents, context: SendingContext
    ) -> Hold | None:
        """Return from where on a vault is held, None if all its events were sent.

        An event that cannot be tried again within its day is given up, and the next one is due.
        """
        position = group.next_position
        if position is None:
            return None
        if group.error is None:
            tries = group.tries if group.sent == 0 else 0
            return Hold(owner=group.owner, position=position, tries=tries)
        tries = group.tries + 1 if group.sent == 0 else 1
        delay = timedelta(seconds=retry_delay(tries))
        row = group.rows[group.sent]
        now = datetime.fromtimestamp(self.wall_clock(), UTC)
        if now + delay < row.created_at + event_messages.MAX_AGE:
            return Hold(
                owner=group.owner, position=position, tries=tries, delay=delay, error=group.error
            )
        message = event_message(self.endpoint, row, context.retracted)
        await single_deliveries.add_given_up(
            conn,
            message.id,
            endpoint=self.endpoint,
            event=message.type,
            body=message.body,
            tries=tries,
            error=group.error,
        )
        self.metrics.webhooks.messages.labels(outcome="given_up").inc()
        return Hold(owner=group.owner, position=position + 1)

    async def _record(self, conn: Connection) -> None:
        """Store what the circuit has seen since the last time."""
        circuit = self._circuit
        health = Health(
            delivered=circuit.delivered,
            error=circuit.error,
            tries=circuit.tries,
            delay=timedelta(seconds=circuit.seconds_open),
        )
        if circuit.recovered:
            await held_vaults.make_due(conn, self.endpoint)
        circuit.delivered, circuit.recovered, circuit.error = False, False, None
        if not await endpoints.record(conn, self.endpoint, health):
            log.error("endpoint_paused", endpoint=self.endpoint, reason=endpoints.FAILING)


def _by_owner(
    rows: Sequence[OutboxRow], tries: Mapping[str, int] | None = None
) -> list[VaultEvents]:
    groups: dict[str, VaultEvents] = {}
    for row in rows:
        owner = row.owner or ""
        known = (tries or {}).get(owner, 0)
        groups.setdefault(owner, VaultEvents(owner=owner, rows=[], tries=known)).rows.append(row)
    return list(groups.values())
