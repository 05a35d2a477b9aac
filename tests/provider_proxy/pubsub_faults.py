"""Faults of PubSub: other ids, early notifications, chatter, refusals, no WebSocket at all."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tests.provider_proxy.fault import Call, PubSubFault


@dataclass(slots=True, kw_only=True, eq=False)
class NoWebSocket(PubSubFault):
    """A new connection is answered by plain HTTP, or by bytes that are none."""

    raw: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nOK"

    def handshake(self) -> bytes:
        return self.raw


@dataclass(slots=True, kw_only=True, eq=False)
class OtherIds(PubSubFault):
    """Subscriptions have ids of another type: `prefix` and the node's number."""

    prefix: str = "0x"

    def change(self, message: dict[str, Any]) -> list[str | bytes | dict[str, Any]]:
        params = message.get("params")
        if isinstance(params, dict):
            params["subscription"] = f"{self.prefix}{params['subscription']}"
        elif type(message.get("result")) is int:
            message["result"] = f"{self.prefix}{message['result']}"
        return [message]


@dataclass(slots=True, kw_only=True, eq=False)
class EarlyNotifications(PubSubFault):
    """The answer to a subscription follows `after` later messages."""

    after: int = 3
    _held: list[tuple[dict[str, Any], int]] = field(default_factory=list, init=False)

    def change(self, message: dict[str, Any]) -> list[str | bytes | dict[str, Any]]:
        if "method" not in message:
            self._held.append((message, self.after))
            return []
        due: list[str | bytes | dict[str, Any]] = [each for each, left in self._held if left <= 1]
        self._held = [(each, left - 1) for each, left in self._held if left > 1]
        return [message, *due]


CHATTER: tuple[str | bytes, ...] = (
    "welcome",
    "",
    b"\xff\xfe\x00",
    "[]",
    "{}",
    '{"type":"keepalive","ts":1700000000}',
    '{"jsonrpc":"2.0","method":"gateway_status","params":["ok"]}',
    '{"jsonrpc":"2.0","id":null,"result":null}',
    '{"jsonrpc":"2.0","method":"logsNotification","params":{"result":null,"subscription":77}}',
)


@dataclass(slots=True, kw_only=True, eq=False)
class Chatter(PubSubFault):
    """Messages of the gateway's own come before messages of the node."""

    messages: tuple[str | bytes, ...] = CHATTER
    _next: int = field(default=0, init=False)

    def change(self, message: dict[str, Any]) -> list[str | bytes | dict[str, Any]]:
        self._next += 1
        return [self.messages[self._next % len(self.messages)], message]


@dataclass(slots=True, kw_only=True, eq=False)
class RefusedSubscription(PubSubFault):
    """Subscriptions by `methods` are refused. `names_request` is `id`, `null`, or `nothing`."""

    methods: Collection[str] = ("slotSubscribe",)
    names_request: str = "nothing"
    code: int = -32601

    def answers(self, call: Call) -> list[str | bytes]:
        answer = {"jsonrpc": "2.0", "error": {"code": self.code, "message": "Method not found"}}
        named = {"id": {"id": call.get("id")}, "null": {"id": None}, "nothing": {}}
        return [json.dumps(answer | named[self.names_request])]


@dataclass(slots=True, kw_only=True, eq=False)
class Unanswered(PubSubFault):
    """Subscriptions by `methods` are never answered."""

    def answers(self, call: Call) -> list[str | bytes]:
        return []


@dataclass(slots=True, kw_only=True, eq=False)
class UnreadableLogs(PubSubFault):
    """The result of each notification of the logs is null."""

    def change(self, message: dict[str, Any]) -> list[str | bytes | dict[str, Any]]:
        if message.get("method") == "logsNotification":
            message["params"]["result"] = None
        return [message]
