"""A PubSub node over memory streams, whose sessions a test scripts, and a client of it."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
import trio.testing
import trio_websocket
from solders.pubkey import Pubkey
from trio_websocket import WebSocketConnection

from cvms.chain.pubsub.log_subscription import LogNotice, LogsSubscribed, watch_logs
from cvms.chain.pubsub.websocket import PubSubTarget
from cvms.chain.types import Commitment

PROGRAM = Pubkey.new_unique()
Notices = trio.MemoryReceiveChannel[LogsSubscribed | LogNotice]
Session = Callable[[WebSocketConnection], Awaitable[None]]


def notification(number: int) -> str:
    value = {"signature": f"s{number}", "err": None, "logs": [f"line {number}"]}
    params = {"result": {"context": {"slot": 100 + number}, "value": value}, "subscription": 9}
    return json.dumps({"jsonrpc": "2.0", "method": "logsNotification", "params": params})


def notice(number: int) -> LogNotice:
    return LogNotice(f"s{number}", 100 + number, None, [f"line {number}"])  # type: ignore[arg-type]


async def subscribe(
    websocket: WebSocketConnection, *, heartbeat: bool = False
) -> list[dict[str, Any]]:
    """Receive the client's two requests; confirm the logs, and the slots if `heartbeat`."""
    requests = [json.loads(await websocket.get_message()) for _ in range(2)]
    logs, slots = ({"jsonrpc": "2.0", "id": each["id"]} for each in requests)
    await websocket.send_message(json.dumps(logs | {"result": 9}))
    refusal = {"error": {"code": -32601, "message": "Method not found"}}
    await websocket.send_message(json.dumps(slots | ({"result": 10} if heartbeat else refusal)))
    return requests


def slot_notification(slot: Any, *, subscription: int = 10) -> str:
    params = {"result": {"slot": slot, "parent": 0, "root": 0}, "subscription": subscription}
    return json.dumps({"jsonrpc": "2.0", "method": "slotNotification", "params": params})


class Node:
    """Runs the next of `sessions` on each connection, then refuses connections."""

    def __init__(self, nursery: trio.Nursery, *sessions: Session) -> None:
        self._nursery = nursery
        self._sessions = list(sessions)
        self.attempts: list[tuple[str, float]] = []

    async def open_stream(self, target: PubSubTarget) -> trio.abc.Stream:
        self.attempts.append((target.host, trio.current_time()))
        if not self._sessions:
            raise ConnectionRefusedError
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs, self._sessions.pop(0))
        return ours

    async def _serve(self, stream: trio.StapledStream[Any, Any], session: Session) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            websocket = await request.accept()
            try:
                await session(websocket)
                await websocket.aclose()
            except trio_websocket.ConnectionClosed:
                return


async def watch(
    nursery: trio.Nursery,
    node: Node,
    *urls: str,
    buffer: float = math.inf,
    newest: Callable[[], int] | None = None,
) -> Notices:
    send, receive = trio.open_memory_channel[LogsSubscribed | LogNotice](buffer)
    start = partial(
        watch_logs,
        urls or ["ws://node"],
        PROGRAM,
        commitment=Commitment.CONFIRMED,
        notices=send,
        newest=newest,
        open_stream=node.open_stream,
        jitter=lambda: 1.0,
    )
    nursery.start_soon(start)
    return receive


def moving_chain(start: int = 100) -> int:
    return start + int(trio.current_time() / 0.4)
