"""The topic `operations`: the overview of this process, which no other one publishes.

It is a state, and not in the outbox: nothing is replayed. `seq` counts within this process, and a
client that resumes gets a reset and a new snapshot.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import trio

from cvms.errors import CvmsError
from cvms.nursery.channels.hub import Hub, OutboxFrame
from cvms.nursery.channels.operations_overview import OperationsOverview
from cvms.nursery.channels.websocket_frames import json_frame
from cvms.store.messaging.topics import Topic

CHANGE_SECONDS = 1.0
"""Between two looks for a change, while anybody is subscribed."""
REPEAT_SECONDS = 10.0
"""After which the overview is sent although nothing has changed."""
READ_SECONDS = 5.0


class OperationsFeed:
    """Publishes the overview to the subscribers of this process, while it can be read."""

    def __init__(self, hub: Hub, read: Callable[[], Awaitable[OperationsOverview]]) -> None:
        self._hub = hub
        self._read = read
        self._seq = 0
        self._last: OperationsOverview | None = None
        self._published_at = -math.inf

    async def run(self) -> None:
        """Publish what changes until cancelled; nothing while nobody is subscribed."""
        while True:
            if self._hub.has_subscribers(Topic.OPERATIONS):
                with trio.move_on_after(READ_SECONDS), suppress(CvmsError):
                    self._publish(await self._read())
            await trio.sleep(CHANGE_SECONDS)

    async def first_frames(self, *, resumes: bool) -> tuple[int, list[bytes]]:
        """Return the `seq` to go on from, and the frames that answer a subscription.

        Raises DatabaseUnavailable.
        """
        seq = self._seq  # before the reading: what is published meanwhile is sent, too
        topic = {"topic": Topic.OPERATIONS, "owner": None}
        subscribed = {"type": "subscribed", **topic, "seq": seq, "snapshot": await self._read()}
        reset = [json_frame({"type": "reset", **topic})] if resumes else []
        return seq, [*reset, json_frame(subscribed)]

    def _publish(self, overview: OperationsOverview) -> None:
        now = trio.current_time()
        if not self._has_changed(overview) and now < self._published_at + REPEAT_SECONDS:
            return
        self._seq += 1
        self._last, self._published_at = overview, now
        self._hub.publish_state(_frame(self._seq, overview))

    def _has_changed(self, overview: OperationsOverview) -> bool:
        last = self._last
        return last is None or msgspec.structs.replace(overview, at=last.at) != last


def _frame(seq: int, overview: OperationsOverview) -> OutboxFrame:
    event = {
        "type": "event",
        "topic": Topic.OPERATIONS,
        "seq": seq,
        "slot": overview.slot or 0,
        "signature": None,
        "commitment": "confirmed",
        "data": overview,
    }
    return OutboxFrame(
        position=0, topic=Topic.OPERATIONS, seq=seq, owner=None, wire=json_frame(event)
    )
