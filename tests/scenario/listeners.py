"""WebSocket clients of every public topic, which reconnect and check the order of events."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import trio
import trio_websocket

from tests.websockets import opened

Json = dict[str, Any]

TOPICS = (
    "deposit_event",
    "withdraw_event",
    "lock_event",
    "unlock_event",
    "transfer_event",
    "timelock_event",
    "yield_event",
    "vault_balance_update",
    "transaction_update",
    "tvl_update",
    "analytics_update",
)
CONFLATED = frozenset({"vault_balance_update", "tvl_update", "analytics_update"})
"""Topics of which slow clients may receive only the newest message."""
RETRY_SECONDS = 0.05
HANDSHAKE_SECONDS = 2.0
DISCONNECTED = (OSError, trio_websocket.HandshakeError, trio_websocket.ConnectionClosed)


@dataclass(slots=True)
class Listener:
    """A client of `/ws` that resumes every topic after the last event it has received."""

    url: str
    seen: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    """Frames received on each topic since the start or the last reset."""
    seq: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOPICS, 0))
    connections: int = 0
    resets: int = 0
    violations: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except* DISCONNECTED:
                pass
            await trio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        # If a server is killed during the handshake, the client's library waits forever.
        with trio.move_on_after(HANDSHAKE_SECONDS) as opening:
            async with opened(self.url.replace("http", "ws", 1) + "/ws") as socket:
                opening.deadline = math.inf
                self.connections += 1
                for topic in TOPICS:
                    request = {"op": "subscribe", "topic": topic, "since": self.seq[topic]}
                    await socket.send_message(json.dumps(request))
                while True:
                    frame = json.loads(await socket.get_message())
                    if frame["type"] == "error" and frame["code"] == "database_unavailable":
                        break  # reconnect
                    self._take(frame)

    def _take(self, frame: Json) -> None:
        kind, topic = frame["type"], frame.get("topic", "")
        if kind == "reset":
            self.resets += 1
            self.seen[topic].clear()
            self.seq[topic] = -1
        elif kind == "subscribed":
            if self.seq[topic] == -1:
                self.seq[topic] = frame["seq"]
            elif frame["seq"] != self.seq[topic]:
                self._violation(f"{topic} resumes at {frame['seq']} instead of {self.seq[topic]}")
        elif kind in {"event", "retracted"}:
            follows = frame["seq"] == self.seq[topic] + 1
            newer = topic in CONFLATED and frame["seq"] > self.seq[topic]
            if not (follows or newer):
                self._violation(f"{topic} {frame['seq']} after {self.seq[topic]}")
            self.seq[topic] = frame["seq"]
            self.seen[topic].append(frame)
        elif kind == "error":
            self._violation(f"an error: {frame}")

    def _violation(self, message: str) -> None:
        self.violations.append(message)
