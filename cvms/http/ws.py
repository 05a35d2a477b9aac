"""`/ws`: the events of the topics a client subscribes to, without a gap and without an overlap.

The hub's frames go to the client's socket as they are, at once, and nobody waits. What a socket
does not take is kept, at most 256 frames of it; a client that lets them fill up is closed. Of what
only matters in its newest form just the newest is kept.

Liveness: a WebSocket ping every 30 s, which every client library answers by itself; any bytes
from the client within 10 s count as the answer.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog
import trio
from quart import websocket
from werkzeug.exceptions import TooManyRequests

from cvms.errors import CvmsError, DatabaseUnavailable, InvalidRequest, InvalidToken, NotAllowed
from cvms.http.problems import problem_of
from cvms.http.services import Services
from cvms.http.transport import Connection
from cvms.http.ws_frames import Frame, Topic, Window, parse
from cvms.http.ws_guard import Guard
from cvms.http.ws_heartbeat import Heartbeat
from cvms.http.ws_subscriptions import (
    CONFLATED,
    Overflow,
    Subscriptions,
    json_frame,
    read_start,
)
from cvms.nursery.channels import OutboxFrame
from cvms.nursery.ws_wire import PING
from cvms.store import outbox

log = structlog.get_logger(__name__)

KEPT_FRAMES = 256
BAD_FRAMES_PER_MINUTE = 10
GOODBYE_SECONDS = 1.0
LAST_WORDS_SECONDS = 1.0
"""At the end, for what is committed to be handed out."""

# RFC 6455, 7.4.1, and 1013 of the IANA registry.
GOING_AWAY = 1001
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """What one client may take of the service, and how soon it has to answer a ping."""

    connections_per_ip: int = 256
    subscriptions: int = 64
    frames_per_second: int = 50
    heartbeat_seconds: float = 30.0
    answer_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How the service closes a WebSocket."""

    code: int
    reason: str


class WebSocketDoor:
    """Lets clients in, so many from one address, and shows them out."""

    def __init__(self, services: Services, limits: WebSocketLimits) -> None:
        self._services = services
        self._limits = limits
        self._open: Counter[str] = Counter()
        self.heartbeat = Heartbeat()
        """Somebody has to run it."""

    async def last_words(self) -> None:
        """Have all that is committed handed to the clients, before they are shown out."""
        with trio.move_on_after(LAST_WORDS_SECONDS), suppress(DatabaseUnavailable):
            async with self._services.database.connection() as conn:
                head = await outbox.head(conn)
            await self._services.hub.reached(head)

    async def serve(self) -> None:
        """Serve the current WebSocket to its end."""
        connection: Connection = websocket.scope["state"]["connection"]
        with self._place_for(self._services.limits.address_of(websocket)):
            await websocket.accept()
            client = Client(self._services, connection, self._limits, self.heartbeat)
            try:
                ending = await client.run()
            except* Exception:
                log.exception("websocket_failed")
                ending = Ending(INTERNAL_ERROR, "internal error")
            await _say_goodbye(connection, ending)

    @contextmanager
    def _place_for(self, address: str) -> Iterator[None]:
        if self._open[address] >= self._limits.connections_per_ip:
            raise TooManyRequests("Too many WebSockets from this address.", retry_after=10)
        self._open[address] += 1
        self._services.metrics.websocket_clients.inc()
        try:
            yield
        finally:
            self._services.metrics.websocket_clients.dec()
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


async def _say_goodbye(connection: Connection, ending: Ending) -> None:
    with trio.move_on_after(GOODBYE_SECONDS):
        await websocket.close(ending.code, ending.reason)
        # Ends with the client's own close frame: Quart cancels its handlers then.
        await trio.sleep_forever()
    connection.abort()


class Client:
    """One accepted WebSocket: a subscriber of the hub."""

    def __init__(
        self,
        services: Services,
        connection: Connection,
        limits: WebSocketLimits,
        heartbeat: Heartbeat,
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._heartbeat = heartbeat
        self._hub = services.hub
        self._database = services.database
        self._program = str(services.programs.vault)
        self._guard = Guard(services, websocket.headers.get("Authorization"))
        self._subscriptions = Subscriptions(limit=limits.subscriptions)
        self._bad_frames = Window(limit=BAD_FRAMES_PER_MINUTE, seconds=60.0)
        self._frames = Window(limit=limits.frames_per_second + 1, seconds=1.0)
        self._scope = trio.CancelScope()
        self._ending: Ending | None = None
        self._pinged_at: float | None = None

    async def run(self) -> Ending:
        """Serve until the service has a reason to close; a client that leaves cancels this."""
        self._connection.bound_buffer()
        self._connection.on_finish = self._go_away
        if self._connection.going_away.is_set():
            self._go_away()
        self._hub.register(self)
        self._heartbeat.add(self._beat, after=self._limits.heartbeat_seconds)
        try:
            with self._scope:
                await self._read()
        finally:
            self._connection.on_finish = None
            self._hub.forget(self)
            self._ending = self._ending or Ending(INTERNAL_ERROR, "")
        return self._ending

    # --- what the hub tells, at once and without waiting ----------------------------------------

    def offer(self, frame: OutboxFrame) -> None:
        if not self._guard.holds(frame.topic):
            self._forget_topic(frame.topic)
            return
        try:
            wanted = self._subscriptions.pass_on(frame)
        except Overflow:
            self.cut()
            return
        if wanted:
            self._post(frame)

    def flush(self) -> None:
        if self._connection.flush() > KEPT_FRAMES:
            self.cut()

    def cut(self) -> None:
        self._end(TRY_AGAIN_LATER, "too slow: events were missed; subscribe again with since")

    def _post(self, frame: OutboxFrame) -> None:
        newest = (frame.topic, frame.owner) if frame.topic in CONFLATED else None
        self._connection.post(frame.wire, newest=newest)

    def _forget_topic(self, topic: str) -> None:
        for owner in self._subscriptions.owners(topic):
            self._hub.unsubscribe(self, topic, owner)
            self._subscriptions.remove(topic, owner)
        self._connection.post(_error(InvalidToken("The token is not valid any more.")))

    # --- how it ends ---------------------------------------------------------------------------

    def _end(self, code: int, reason: str) -> None:
        self._hub.forget(self)
        self._ending = self._ending or Ending(code, reason)
        self._scope.cancel()

    def _go_away(self) -> None:
        self._end(GOING_AWAY, "the server is going away")

    def _beat(self) -> float | None:
        """Ping, and look for the answer."""
        if self._ending is not None:
            return None
        if self._pinged_at is None:
            self._pinged_at = trio.current_time()
            self._connection.post(PING)
            self._connection.flush()
            return self._limits.answer_seconds
        if self._connection.heard_at < self._pinged_at:
            self._end(TRY_AGAIN_LATER, "no answer to ping")
            return None
        self._pinged_at = None
        return self._limits.heartbeat_seconds

    # --- what the client asks ------------------------------------------------------------------

    async def _read(self) -> None:
        await self._reply(
            type="connected",
            session=secrets.token_urlsafe(12),
            heartbeat_seconds=self._limits.heartbeat_seconds,
        )
        while True:
            message = await websocket.receive()
            try:
                if self._frames.full_after(trio.current_time()):
                    raise InvalidRequest("Too many frames in a second.")
                await self._obey(parse(message))
            except (InvalidRequest, InvalidToken, NotAllowed) as error:
                await self._refuse(error)
            except CvmsError as error:
                await self._reply_error(error)

    async def _obey(self, frame: Frame) -> None:
        if frame.op == "ping":
            await self._reply(type="pong")
            return
        assert frame.topic is not None
        owner = str(frame.owner) if frame.owner else None
        if frame.op == "unsubscribe":
            self._hub.unsubscribe(self, frame.topic, owner)
            self._subscriptions.remove(frame.topic, owner)
            await self._reply(type="unsubscribed", topic=frame.topic, owner=owner)
            return
        await self._guard.admit(frame)
        await self._subscribe(frame.topic, owner, frame.since)

    async def _subscribe(self, topic: Topic, owner: str | None, since: int | None) -> None:
        try:
            with self._subscriptions.starting(topic, owner):
                self._hub.subscribe(self, topic, owner)
                seq, frames = await read_start(
                    self._database, topic, owner, since, program=self._program
                )
                await self._send(*frames)
                self._subscriptions.begin(topic, owner, seq)
        except DatabaseUnavailable:
            self._hub.unsubscribe(self, topic, owner)
            raise
        for frame in self._subscriptions.release():
            self._post(frame)
        self.flush()

    async def _refuse(self, error: CvmsError) -> None:
        await self._reply_error(error)
        if self._bad_frames.full_after(trio.current_time()):
            self._end(POLICY_VIOLATION, "too many bad frames")

    async def _reply_error(self, error: CvmsError) -> None:
        await self._send(_error(error))

    async def _reply(self, **message: Any) -> None:
        await self._send(json_frame(message))

    async def _send(self, *frames: bytes) -> None:
        """Send replies. Waits while the client does not take them: it is to read before it asks."""
        for frame in frames:
            self._connection.post(frame)
        if self._connection.flush():
            await self._connection.drain()


def _error(error: CvmsError) -> bytes:
    problem = problem_of(error)
    assert problem is not None
    return json_frame({"type": "error", "code": problem.code, "detail": problem.detail})
