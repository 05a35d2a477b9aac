"""The log subscription at providers, whose gateways number, refuse and add as they like."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio_websocket import WebSocketConnection

from cvms.chain.pubsub.log_subscription import (
    MAX_DELAY,
    SILENT_SECONDS,
    LogsSubscribed,
)
from tests.chain.pubsub.scripted_pubsub import (
    Node,
    moving_chain,
    notice,
    notification,
    slot_notification,
    subscribe,
    watch,
)


@pytest.mark.parametrize(
    "frame",
    [
        "[" * 100_000,
        '{"jsonrpc": "2.0"}',
        "[]",
        "welcome",
        b"\xff\x00",
        '{"type": "heartbeat", "params": ["x"]}',
        '{"error": "you have 3 credits left"}',
        '{"jsonrpc": "2.0", "method": "slotNotification"}',
        '{"jsonrpc": "2.0", "id": 1, "result": 9}',
        '{"jsonrpc": "2.0", "id": 1, "result": 8}',
        slot_notification(-1),
        slot_notification("5"),
        slot_notification(5, subscription=9).replace("slot", "root"),
    ],
    ids=[
        *("deep", "empty", "array", "not JSON", "binary", "another shape", "an error of nobody"),
        *("no params", "again", "another id", "negative slot", "slot in words", "other method"),
    ],
)
async def test_a_message_of_a_gateway_is_skipped(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, frame: str | bytes
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        await subscribe(websocket, heartbeat=True)
        await websocket.send_message(frame)
        await websocket.send_message(notification(1))
        for slot in range(100, 1000):
            await websocket.send_message(slot_notification(slot))
            await trio.sleep(0.4)

    node = Node(nursery, session)
    notices = await watch(nursery, node)
    with trio.fail_after(5):
        assert [await notices.receive() for _ in range(2)] == [LogsSubscribed(), notice(1)]
    await trio.sleep(300)
    assert len(node.attempts) == 1


async def test_a_notification_that_cannot_be_read_counts_as_one_that_is_missing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        await websocket.send_message(notification(1).replace("101", '"slot"'))
        await trio.sleep_forever()

    node = Node(nursery, session)
    notices = await watch(nursery, node)
    with trio.fail_after(5):
        assert [await notices.receive() for _ in range(2)] == [LogsSubscribed(), LogsSubscribed()]
    assert len(node.attempts) == 1


@pytest.mark.parametrize("frame", ["x" * (5 * 1024 * 1024), '{"id": 1, "error": {}}'])
async def test_a_frame_too_large_or_a_late_refusal_leads_to_a_new_subscription(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, frame: str
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        await websocket.send_message(frame)
        await trio.sleep_forever()

    node = Node(nursery, session, session)
    notices = await watch(nursery, node)
    with trio.fail_after(10):
        assert [await notices.receive() for _ in range(2)] == [LogsSubscribed(), LogsSubscribed()]


@pytest.mark.parametrize("number", [9, "9", "0x5f", 9.5, True])
async def test_a_subscription_may_have_any_id_and_be_answered_late(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, number: Any
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        logs, slots = [json.loads(await websocket.get_message())["id"] for _ in range(2)]
        own = json.loads(notification(1))
        own["params"]["subscription"] = number
        await websocket.send_message(json.dumps(own))
        await websocket.send_message(slot_notification(101, subscription=number))
        await websocket.send_message(json.dumps({"id": str(slots), "result": number}))
        await trio.sleep(9)
        await websocket.send_message(json.dumps({"id": str(logs), "result": number}))
        await websocket.send_message(json.dumps(own))
        await trio.sleep_forever()

    node = Node(nursery, session)
    notices = await watch(nursery, node)
    with trio.fail_after(10):
        got = [await notices.receive() for _ in range(3)]
    assert got == [notice(1), LogsSubscribed(), notice(1)]
    assert len(node.attempts) == 1


@pytest.mark.parametrize("name", [{}, {"id": None}])
@pytest.mark.parametrize("before", [True, False])
async def test_without_slots_refused_by_an_error_of_no_request_pings_must_do(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    name: dict[str, Any],
    before: bool,
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        logs, _ = [json.loads(await websocket.get_message()) for _ in range(2)]
        refusal = json.dumps({"error": {"code": -32601, "message": "no such method"}, **name})
        if before:
            await websocket.send_message(refusal)
        await websocket.send_message(json.dumps({"id": logs["id"], "result": 9}))
        if not before:
            await websocket.send_message(refusal)
        await trio.sleep(3600)
        await websocket.send_message(notification(1))
        await trio.sleep_forever()

    node = Node(nursery, session)
    notices = await watch(nursery, node)
    with trio.fail_after(3700):
        assert [await notices.receive() for _ in range(2)] == [LogsSubscribed(), notice(1)]
    assert len(node.attempts) == 1


async def test_two_errors_of_no_request_refuse_the_subscription(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        for _ in range(2):
            await websocket.get_message()
            await websocket.send_message('{"error": {"code": -32600}, "id": null}')
        await trio.sleep_forever()

    node = Node(nursery, *[session] * 100)
    await watch(nursery, node)
    with capture_logs() as logs:
        await trio.sleep(120)
    gaps = [later - earlier for (_, earlier), (_, later) in pairwise(node.attempts)]
    assert gaps[:3] == pytest.approx([0.25, 0.5, 1.0])
    assert gaps[-1] == pytest.approx(MAX_DELAY)
    [lost] = logs
    assert lost["event"] == "pubsub_connection_lost"
    assert lost["reasons"] == ["the node refuses the subscription"]


async def test_a_node_whose_slots_stop_is_left_though_its_gateway_talks_on(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        await subscribe(websocket, heartbeat=True)
        while True:
            await websocket.send_message("tick")
            await trio.sleep(1)

    node = Node(nursery, session, session)
    notices = await watch(nursery, node, newest=moving_chain)
    with capture_logs() as logs, trio.fail_after(SILENT_SECONDS + 1):
        assert [await notices.receive() for _ in range(2)] == [LogsSubscribed(), LogsSubscribed()]
    assert [each["event"] for each in logs].count("pubsub_message_ignored") <= 2
