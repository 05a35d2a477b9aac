"""One WebSocket client, which receives the events of its topics without a gap or an overlap.

The hub's frames are written to the client's socket unchanged and without waiting. Up to 256 frames
that the socket does not accept are queued; a client with more is closed. Of superseded frames only
the newest is queued.

Liveness: the service sends a WebSocket ping every 30 s, which client libraries answer by
themselves. Any bytes from the client within 10 s count as the answer.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import trio
from prometheus_client import Counter
from quart import websocket
from solders.pubkey import Pubkey

from cvms.errors import CvmsError, InvalidRequest, InvalidSignature, InvalidToken, NotAllowed
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import problem_of
from cvms.http.server.http_connection import HttpConnection
from cvms.http.websocket.account_subscriptions import ClientAccountSubscriptions
from cvms.http.websocket.catch_up import read_snapshot_or_replay
from cvms.http.websocket.client_frames import Frame, Window, parse
from cvms.http.websocket.heartbeat import HeartbeatScheduler, Timer
from cvms.http.websocket.operations_feed import OperationsFeed
from cvms.http.websocket.topic_access import GUARDED, TopicAccess, access_ended
from cvms.http.websocket.topic_subscriptions import Overflow, TopicSubscriptions
from cvms.nursery.channels.hub import OutboxFrame
from cvms.nursery.channels.websocket_frames import PING, json_frame
from cvms.store.messaging.topics import CONFLATED, Topic

MAX_QUEUED_FRAMES = 256
REPLY_BATCH = 64
"""Frames of a reply to queue before waiting for the client: a quarter of the maximum."""
BAD_FRAMES_PER_MINUTE = 10

# RFC 6455, 7.4.1, and 1013 of the IANA registry.
GOING_AWAY = 1001
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013

CLIENT, SLOW, NO_ANSWER, BAD_FRAMES = "client", "slow", "no_answer", "bad_frames"
SHUTDOWN, FAULT = "shutdown", "fault"
CLOSE_KINDS = (CLIENT, SLOW, NO_ANSWER, BAD_FRAMES, SHUTDOWN, FAULT)
"""Causes of the end of a WebSocket, as metrics name them."""
ACCOUNT = "account"
"""The topic, in metrics, of frames about an account that a client watches."""


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """Limits for one client, and the interval and deadline of pings."""

    connections_per_ip: int = 256
    subscriptions: int = 64
    frames_per_second: int = 50
    heartbeat_seconds: float = 30.0
    answer_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Close code and reason with which the service closes a WebSocket; `kind` as in metrics."""

    code: int
    reason: str
    kind: str


class ClientSession:
    """One accepted WebSocket: a subscriber of the hub."""

    def __init__(
        self,
        deps: Dependencies,
        connection: HttpConnection,
        limits: WebSocketLimits,
        heartbeat: HeartbeatScheduler,
        *,
        frames_of: Mapping[str, Counter],
        operations: OperationsFeed,
        authorization: str | None,
    ) -> None:
        self._connection = connection
        self._frames_of = frames_of
        self._limits = limits
        self._heartbeat = heartbeat
        self._operations = operations
        self._hub = deps.hub
        self._replies = deps.replies
        self._database = deps.database
        self._program = str(deps.programs.vault)
        self._access = TopicAccess(deps, authorization)
        self._subscriptions = TopicSubscriptions()
        self._accounts = ClientAccountSubscriptions(deps.accounts, self._notify_of_account)
        self._bad_frames = Window(limit=BAD_FRAMES_PER_MINUTE, seconds=60.0)
        self._frames = Window(limit=limits.frames_per_second + 1, seconds=1.0)
        self._timer: Timer | None = None
        self._access_timer: Timer | None = None
        self._scope = trio.CancelScope()
        self._ending: Ending | None = None
        self._pinged_at: float | None = None

    async def run(self) -> Ending:
        """Serve until the service ends the session, and return how. A client that leaves cancels
        this.
        """
        self._connection.bound_buffer()
        self._connection.on_finish = self._go_away
        if self._connection.going_away.is_set():
            self._go_away()
        self._hub.register(self)
        self._timer = self._heartbeat.add(self._heartbeat_due, after=self._limits.heartbeat_seconds)
        try:
            with self._scope:
                await self._read()
        finally:
            self._connection.on_finish = None
            for timer in (self._timer, self._access_timer):
                if timer is not None:
                    timer.cancel()
            self._end(INTERNAL_ERROR, "", FAULT)
        assert self._ending is not None
        return self._ending

    # --- frames to the client, without waiting ---------------------------------------------------

    def offer(self, frame: OutboxFrame) -> None:
        if frame.topic in GUARDED:
            self._end_expired()
            if not self._access.sees(frame):
                return
        try:
            wanted = self._subscriptions.accepts(frame)
        except Overflow:
            self.drop_slow()
            return
        if wanted:
            self._post(frame)

    def flush(self) -> None:
        if self._connection.flush() > MAX_QUEUED_FRAMES:
            self.drop_slow()

    def drop_slow(self) -> None:
        self._end(TRY_AGAIN_LATER, "too slow: events were missed; subscribe again with since", SLOW)

    def _post(self, frame: OutboxFrame) -> None:
        self._frames_of[frame.topic].inc()
        key = (frame.topic, frame.owner) if frame.topic in CONFLATED else None
        self._connection.post(frame.wire, conflation_key=key)

    def _notify(self, wire: bytes, conflation_key: Hashable | None) -> None:
        self._connection.post(wire, conflation_key=conflation_key)
        self.flush()

    def _notify_of_account(self, wire: bytes, conflation_key: Hashable | None) -> None:
        self._frames_of[ACCOUNT].inc()
        self._notify(wire, conflation_key)

    def _end_expired(self) -> None:
        """End the subscriptions whose token or signature has expired."""
        for topic, owner in self._access.expired():
            if (topic, owner) in self._subscriptions:
                self._unsubscribe(topic, owner)
                self._notify(_error(access_ended(), topic), None)

    # --- the end of the session ------------------------------------------------------------------

    def _end(self, code: int, reason: str, kind: str) -> None:
        self._hub.unregister(self)
        self._accounts.close()
        self._ending = self._ending or Ending(code, reason, kind)
        self._scope.cancel()

    def _go_away(self) -> None:
        self._end(GOING_AWAY, "the server is going away", SHUTDOWN)

    def _heartbeat_due(self) -> float | None:
        """Send a ping, or check that it was answered. Returns the seconds until the next call."""
        if self._pinged_at is None:
            self._pinged_at = trio.current_time()
            self._connection.post(PING)
            self._connection.flush()
            return self._limits.answer_seconds
        if self._connection.last_received_at < self._pinged_at:
            self._end(TRY_AGAIN_LATER, "no answer to ping", NO_ANSWER)
            return None
        self._pinged_at = None
        return self._limits.heartbeat_seconds

    def _check_access(self) -> float | None:
        """End what has expired, and return in how many seconds the next access does."""
        self._end_expired()
        seconds = self._access.seconds_left()
        return seconds if seconds < math.inf else None

    # --- frames from the client ------------------------------------------------------------------

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
                    limit = self._limits.frames_per_second
                    raise InvalidRequest(f"Send at most {limit} frames per second.")
                await self._handle(parse(message))
            except (InvalidRequest, InvalidToken, InvalidSignature, NotAllowed) as error:
                await self._send(_error(error))
                if self._bad_frames.full_after(trio.current_time()):
                    self._end(POLICY_VIOLATION, "too many bad frames", BAD_FRAMES)
            except CvmsError as error:
                await self._send(_error(error))

    async def _handle(self, frame: Frame) -> None:
        owner = str(frame.owner) if frame.owner else None
        if frame.account is not None:
            await self._handle_account(frame, frame.account)
        elif frame.op == "ping":
            await self._reply(type="pong")
        elif frame.op == "unsubscribe":
            assert frame.topic is not None
            self._unsubscribe(frame.topic, owner)
            await self._reply(type="unsubscribed", topic=frame.topic, owner=owner)
        else:
            await self._subscribe(frame, owner)

    async def _handle_account(self, frame: Frame, key: Pubkey) -> None:
        if frame.unsubscribe is not None:
            self._accounts.unwatch(key)
            await self._reply(type="unsubscribed", pubkey=str(key))
            return
        if key not in self._accounts:
            self._check_capacity()
        self._accounts.watch(key)

    async def _subscribe(self, frame: Frame, owner: str | None) -> None:
        topic = frame.topic
        assert topic is not None
        renewed = (topic, owner) in self._subscriptions
        if not renewed:
            self._check_capacity()
        await self._access.admit(frame)
        try:
            with self._subscriptions.activating(topic, owner):
                self._hub.subscribe(self, topic, owner)
                seq, frames = await self._first_frames(topic, owner, frame.since)
                await self._send(*frames)
                self._subscriptions.activate_from(topic, owner, seq)
        except CvmsError:
            if not renewed:
                self._hub.unsubscribe(self, topic, owner)
            raise
        finally:
            for held in self._subscriptions.release():
                self._post(held)
            self.flush()
        if topic in GUARDED:
            if self._access_timer is not None:
                self._access_timer.cancel()
            seconds = max(0.0, self._access.seconds_left())
            self._access_timer = self._heartbeat.add(self._check_access, after=seconds)

    async def _first_frames(
        self, topic: Topic, owner: str | None, since: int | None
    ) -> tuple[int, list[bytes]]:
        """Return the `seq` to go on from, and the frames up to there."""
        if topic is Topic.OPERATIONS:
            return await self._operations.first_frames(resumes=since is not None)
        position, seq, frames = await read_snapshot_or_replay(
            self._database, topic, owner, since, program=self._program
        )
        self._replies.require(position)
        return seq, frames

    def _unsubscribe(self, topic: str, owner: str | None) -> None:
        self._hub.unsubscribe(self, topic, owner)
        self._subscriptions.remove(topic, owner)

    def _check_capacity(self) -> None:
        limit = self._limits.subscriptions
        if len(self._subscriptions) + len(self._accounts) >= limit:
            raise InvalidRequest(
                f"A connection may have {limit} subscriptions. Unsubscribe from one first, or open "
                "another connection."
            )

    async def _reply(self, **message: Any) -> None:
        await self._send(json_frame(message))

    async def _send(self, *frames: bytes) -> None:
        """Send replies. Waits for the client to read them before it may make further requests."""
        for start in range(0, len(frames), REPLY_BATCH):
            for frame in frames[start : start + REPLY_BATCH]:
                self._connection.post(frame)
            if self._connection.flush():
                await self._connection.drain()


def _error(error: CvmsError, topic: str | None = None) -> bytes:
    problem = problem_of(error)
    assert problem is not None
    message = {"type": "error", "code": problem.code, "detail": problem.detail}
    return json_frame(message if topic is None else message | {"topic": topic})
