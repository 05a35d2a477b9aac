"""A subscription to a channel of Redis, received by a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from cvms.store.redis.connection import Deadline, RedisAway, new_connection

BEAT_SECONDS = 1.0
"""The longest time in which the thread neither reports nor notices that it is not wanted."""
LATE_SECONDS = 5.0
"""After which a thread that does not report is left alone; resolving a name can take longer."""
SILENCE_SECONDS = 15.0
"""After which the connection is checked: a firewall may have dropped it."""
MAX_THREADS = 4

Report = Callable[[], None]


class Subscriptions:
    """Subscribes to channels. `seconds` is the deadline of a connection, and of each answer."""

    def __init__(self, url: str, *, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._threads = trio.CapacityLimiter(MAX_THREADS)

    async def listen(self, channel: str, wake: Callable[[], None]) -> None:
        """Call `wake` once subscribed, and for each message, until cancelled.

        Raises RedisAway once the subscription is lost.
        """
        token = trio.lowlevel.current_trio_token()
        with trio.move_on_after(LATE_SECONDS) as scope:

            def beat() -> None:
                scope.deadline = trio.current_time() + LATE_SECONDS

            # Idempotent: however many messages arrive, one call waits.
            receive = partial(
                self._receive,
                channel,
                on_message=partial(token.run_sync_soon, wake, idempotent=True),
                on_beat=partial(token.run_sync_soon, beat, idempotent=True),
            )
            await trio.to_thread.run_sync(
                receive, abandon_on_cancel=True, limiter=self._threads, thread_name="redis channel"
            )
        raise RedisAway

    def _receive(self, channel: str, *, on_message: Report, on_beat: Report) -> None:
        deadline = Deadline()
        connection = new_connection(self._url, deadline)
        try:
            deadline.restart(self._seconds)
            connection.connect()
            connection.send_command("SUBSCRIBE", channel, check_health=False)
            if _kind(connection.read_response()) != b"subscribe":
                raise ValueError("SUBSCRIBE was answered by something else")
            on_message()  # for what was published before
            self._receive_messages(connection, deadline, on_message, on_beat)
        except Exception as error:
            # As in the other thread: a server that sends anything makes the library raise anything.
            raise RedisAway from error
        finally:
            connection.disconnect()

    def _receive_messages(
        self, connection: Any, deadline: Deadline, on_message: Report, on_beat: Report
    ) -> None:
        silence = 0.0
        while True:
            trio.from_thread.check_cancelled()
            on_beat()
            deadline.restart(BEAT_SECONDS + self._seconds)
            readable = connection.can_read(BEAT_SECONDS)
            silence += BEAT_SECONDS
            if not readable and silence < SILENCE_SECONDS:
                continue
            deadline.restart(self._seconds)
            if not readable:
                connection.send_command("PING", check_health=False)
            if _kind(connection.read_response()) == b"message":
                on_message()
            silence = 0.0


def _kind(message: object) -> bytes:
    """Return what kind of message of a subscription this is. Raises ValueError if it is none."""
    match message:
        case [b"subscribe" | b"message" | b"pong" as kind, *_]:
            return bytes(kind)
    raise ValueError("not a message of a subscription")
