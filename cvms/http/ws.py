"""`/ws`: the events of the topics a client subscribes to, without a gap and without an overlap.

Liveness: a WebSocket ping every 30 s, which every client library answers by itself; any bytes
from the client within 10 s count as the answer.

One task writes. It takes frames over a rendezvous from the reader (replies) and the pump (events),
so nothing is queued for a client but the 256 frames the hub holds for it; when they are full the
client is closed and nobody else waits.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
import trio
from quart import websocket
from werkzeug.exceptions import TooManyRequests

from cvms.errors import CvmsError, DatabaseUnavailable, InvalidRequest, InvalidToken, NotAllowed
from cvms.http.problems import problem_of
from cvms.http.services import Services
from cvms.http.transport import Connection
from cvms.http.ws_frames import Frame, Window, parse
from cvms.http.ws_guard import Guard
from cvms.http.ws_subscriptions import Subscriptions
from cvms.nursery.channels import Subscriber
from cvms.store import outbox

log = structlog.get_logger(__name__)

BAD_FRAMES_PER_MINUTE = 10
GOODBYE_SECONDS = 1.0
FLUSH_SECONDS = 1.0
PASS_ON_SECONDS = 0.5
"""At the end: for what is committed to be handed out, and for each client to be sent it."""

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
        self._last_words = LastWords(services)

    async def serve(self) -> None:
        """Serve the current WebSocket to its end."""
        connection: Connection = websocket.scope["state"]["connection"]
        with self._place_for(self._services.limits.address_of(websocket)):
            await websocket.accept()
            client = Client(self._services, connection, self._limits, self._last_words)
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


class LastWords:
    """What was committed before the end is told before it. Asked for once, for all clients."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._turn = trio.Lock()
        self._said = False

    async def said(self) -> None:
        """Return once the hub has handed out all of the outbox, or could not in time."""
        async with self._turn:
            if self._said:
                return
            with trio.move_on_after(FLUSH_SECONDS), suppress(DatabaseUnavailable):
                async with self._services.database.connection() as conn:
                    head = await outbox.head(conn)
                await self._services.hub.reached(head)
            self._said = True


async def _say_goodbye(connection: Connection, ending: Ending) -> None:
    with trio.move_on_after(GOODBYE_SECONDS):
        await websocket.close(ending.code, ending.reason)
        # Ends with the client's own close frame: Quart cancels its handlers then.
        await trio.sleep_forever()
    connection.abort()


class Client:
    """One accepted WebSocket."""

    def __init__(
        self,
        services: Services,
        connection: Connection,
        limits: WebSocketLimits,
        last_words: LastWords,
    ) -> None:
        self._connection = connection
        self._last_words = last_words
        self._limits = limits
        self._hub = services.hub
        self._subscriptions = Subscriptions(
            services.database, program=str(services.programs.vault), limit=limits.subscriptions
        )
        self._guard = Guard(services, websocket.headers.get("Authorization"))
        self._replies, self._outgoing = trio.open_memory_channel[str | None](0)
        self._bad_frames = Window(limit=BAD_FRAMES_PER_MINUTE, seconds=60.0)
        self._frames = Window(limit=limits.frames_per_second + 1, seconds=1.0)
        self._ending = Ending(INTERNAL_ERROR, "")
        self._tasks: trio.Nursery | None = None

    async def run(self) -> Ending:
        """Serve until the service has a reason to close; a client that leaves cancels this."""
        subscriber = self._hub.register()
        try:
            async with trio.open_nursery() as self._tasks:
                self._tasks.start_soon(self._write)
                self._tasks.start_soon(self._pump, subscriber)
                self._tasks.start_soon(self._heartbeat)
                self._tasks.start_soon(self._watch_shutdown, subscriber)
                await self._read(subscriber)
        finally:
            subscriber.close()
        return self._ending

    def _end(self, code: int, reason: str) -> None:
        assert self._tasks is not None
        self._ending = Ending(code, reason)
        self._tasks.cancel_scope.cancel()

    async def _write(self) -> None:
        async for text in self._outgoing:
            if text is not None:
                await websocket.send(text)

    async def _pump(self, subscriber: Subscriber) -> None:
        try:
            while True:
                frame = await subscriber.receive()
                if not self._guard.holds(frame.topic):
                    self._subscriptions.remove_topic(subscriber, frame.topic)
                    await self._reply_error(InvalidToken("The token is not valid any more."))
                elif await self._subscriptions.want(frame):
                    await self._replies.send(frame.payload.decode())
        except trio.EndOfChannel:
            if not subscriber.overflowed:  # it was closed for the end, and all is passed on
                await self._replies.send(None)  # taken when what came before is written
                self._end(GOING_AWAY, "the server is going away")
                return
            self._end(TRY_AGAIN_LATER, "too slow: events were missed; subscribe again with since")

    async def _heartbeat(self) -> None:
        while True:
            await trio.sleep(self._limits.heartbeat_seconds)
            asked_at = trio.current_time()
            await self._connection.ping()
            await trio.sleep(self._limits.answer_seconds)
            if self._connection.heard_at < asked_at:
                self._end(TRY_AGAIN_LATER, "no answer to ping")

    async def _watch_shutdown(self, subscriber: Subscriber) -> None:
        await self._connection.going_away.wait()
        with trio.move_on_after(FLUSH_SECONDS + PASS_ON_SECONDS):
            await self._last_words.said()
            subscriber.close()  # the pump passes on what is there, and ends
            await trio.sleep_forever()
        self._end(GOING_AWAY, "the server is going away")

    async def _read(self, subscriber: Subscriber) -> None:
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
                await self._obey(parse(message), subscriber)
            except (InvalidRequest, InvalidToken, NotAllowed) as error:
                await self._refuse(error)
            except CvmsError as error:
                await self._reply_error(error)

    async def _obey(self, frame: Frame, subscriber: Subscriber) -> None:
        if frame.op == "ping":
            await self._reply(type="pong")
            return
        assert frame.topic is not None
        owner = str(frame.owner) if frame.owner else None
        if frame.op == "unsubscribe":
            self._subscriptions.remove(subscriber, frame.topic, owner)
            await self._reply(type="unsubscribed", topic=frame.topic, owner=owner)
            return
        await self._guard.admit(frame)
        async with self._subscriptions.added(subscriber, frame.topic, owner, frame.since) as start:
            for text in start:
                await self._replies.send(text)

    async def _refuse(self, error: CvmsError) -> None:
        if self._bad_frames.full_after(trio.current_time()):
            self._end(POLICY_VIOLATION, "too many bad frames")
        await self._reply_error(error)

    async def _reply_error(self, error: CvmsError) -> None:
        problem = problem_of(error)
        assert problem is not None
        await self._reply(type="error", code=problem.code, detail=problem.detail)

    async def _reply(self, **frame: Any) -> None:
        await self._replies.send(msgspec.json.encode(frame).decode())
