"""The thread that speaks with Redis: whatever waits at the same moment goes out as one pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

import trio
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError, ResponseError

from cvms.store.redis.calls import Call, Reply
from cvms.store.redis.connection import Deadline, new_connection

MAX_CALLS = 256
"""Calls of one pipeline. Those after them wait for the next."""


class PipelineThread:
    """Makes calls on a connection of its own, each pipeline within `seconds`.

    `delivered` is called in trio with the calls that have ended. The thread never keeps the process
    from ending.
    """

    def __init__(
        self, url: str, *, seconds: float, delivered: Callable[[Sequence[Call]], None]
    ) -> None:
        self._deadline = Deadline()
        self._connection = new_connection(url, self._deadline)
        self._seconds = seconds
        self._delivered = delivered
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._trio = trio.lowlevel.current_trio_token()
        threading.Thread(target=self._run, name="redis", daemon=True).start()

    def put(self, call: Call) -> None:
        """Queue a call, without waiting."""
        self._queue.put(call)

    def close(self) -> None:
        """End the thread once it has made the calls before; do not wait for it."""
        self._queue.put(None)

    def _run(self) -> None:
        try:
            while calls := self._next_calls():
                wanted = [call for call in calls if call.wanted]
                if wanted:
                    self._make(wanted)
                self._trio.run_sync_soon(self._delivered, calls)
        except trio.RunFinishedError:
            return  # nobody waits any more
        finally:
            self._connection.disconnect()

    def _next_calls(self) -> list[Call]:
        """Wait for a call, and return it with those that wait behind it; none to end."""
        if (call := self._queue.get()) is None:
            return []
        calls = [call]
        while len(calls) < MAX_CALLS:
            try:
                following = self._queue.get_nowait()
            except Empty:
                break
            if following is None:
                self._queue.put(None)
                break
            calls.append(following)
        return calls

    def _make(self, calls: Sequence[Call]) -> None:
        """Make the calls in one pipeline. After any trouble the connection is opened anew."""
        self._deadline.restart(self._seconds)
        try:
            self._send(calls)
            answers = [self._read(call) for call in calls]
            self._check_in_step()
            for call, answer in zip(calls, answers, strict=True):
                refusals = [each for each in answer if isinstance(each, ResponseError)]
                if refusals:  # of this call: the others have their answers
                    call.script_unknown = isinstance(refusals[0], NoScriptError)
                    call.finish(error=refusals[0])
                else:
                    call.finish(call.read(answer))
        except Exception as error:
            # A server that sends anything at all makes the library raise anything: this thread
            # outlives it, and to the callers it is one and the same outage.
            self._fail(calls, error)
        else:
            if any(call.is_outage() for call in calls):
                self._connection.disconnect()  # READONLY: another server may have its name now

    def _send(self, calls: Sequence[Call]) -> None:
        connection = self._connection
        if connection.is_connected:
            self._check_in_step()
        connection.connect()
        commands = (command for call in calls for command in call.commands)
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    def _read(self, call: Call) -> list[Reply]:
        """Return the replies to a call's commands, among them the errors that Redis answered."""
        replies = []
        for _ in call.commands:
            try:
                replies.append(self._connection.read_response())
            except ResponseError as refusal:
                replies.append(refusal)
        return replies

    def _check_in_step(self) -> None:
        """Raise ValueError if Redis has sent what nobody asked for: all answers may be others'.

        A connection that Redis has closed meanwhile is opened anew.
        """
        try:
            if self._connection.can_read(0):
                raise ValueError("an answer to nothing")
        except Disconnected:
            self._connection.disconnect()

    def _fail(self, calls: Sequence[Call], error: Exception) -> None:
        self._connection.disconnect()
        for call in calls:
            if not call.finished:
                call.finish(error=error)
