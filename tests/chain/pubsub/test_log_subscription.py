"""The log subscription against nodes that are silent, refuse, lag or reconnect.

It uses memory streams and an autojump clock, so every wait is virtual.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import trio
import trio.testing
from trio_websocket import WebSocketConnection

from cvms.chain.pubsub.log_subscription import (
    FIRST_DELAY,
    MAX_DELAY,
    SILENT_SECONDS,
    STABLE_SECONDS,
    LogsSubscribed,
)
from cvms.chain.pubsub.websocket import CONNECT_SECONDS, PING_INTERVAL, PONG_SECONDS, PubSubTarget
from tests.chain.pubsub.scripted_pubsub import (
    PROGRAM,
    Node,
    Session,
    moving_chain,
    notice,
    notification,
    slot_notification,
    subscribe,
    watch,
)


async def test_notices_follow_the_subscription(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    requests = []

    async def session(websocket: WebSocketConnection) -> None:
        requests.extend(await subscribe(websocket))
        await websocket.send_message(notification(1))
        await websocket.send_message(notification(2).encode())
        await trio.sleep_forever()

    with trio.fail_after(5):
        notices = await watch(nursery, Node(nursery, session))
        assert [await notices.receive() for _ in range(3)] == [
            LogsSubscribed(),
            notice(1),
            notice(2),
        ]
    assert requests[0]["method"] == "logsSubscribe"
    assert requests[0]["params"] == [{"mentions": [str(PROGRAM)]}, {"commitment": "confirmed"}]
    assert requests[1]["method"] == "slotSubscribe"


async def test_every_reconnection_reports_that_notifications_may_be_missing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def session(websocket: WebSocketConnection, number: int) -> None:
        await subscribe(websocket)
        await websocket.send_message(notification(number))

    node = Node(nursery, *(partial(session, number=number) for number in range(3)))
    with trio.fail_after(60):
        notices = await watch(nursery, node, "ws://one", "ws://two")
        got = [await notices.receive() for _ in range(6)]
    assert got == [
        LogsSubscribed(),
        notice(0),
        LogsSubscribed(),
        notice(1),
        LogsSubscribed(),
        notice(2),
    ]
    assert [host for host, _ in node.attempts][:3] == ["one", "two", "one"]


async def test_a_half_open_connection_is_noticed_within_twenty_seconds(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def deaf(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        websocket._reader_running = False  # it reads no more, so it answers no ping
        await trio.sleep_forever()

    async def alive(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        await trio.sleep_forever()

    node = Node(nursery, deaf, alive)
    notices = await watch(nursery, node)
    assert await notices.receive() == LogsSubscribed()
    with trio.fail_after(20):
        assert await notices.receive() == LogsSubscribed()


async def test_a_quiet_connection_that_answers_pings_is_left_alone(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def quiet(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        await trio.sleep(3600)
        await websocket.send_message(notification(1))
        await trio.sleep_forever()

    node = Node(nursery, quiet)
    notices = await watch(nursery, node)
    with trio.fail_after(3700):
        assert [await notices.receive() for _ in range(2)] == [LogsSubscribed(), notice(1)]
    assert len(node.attempts) == 1


async def test_a_full_channel_makes_it_wait_and_loses_nothing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    count = 200

    async def busy(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        for number in range(count):
            await websocket.send_message(notification(number))
        await trio.sleep_forever()

    node = Node(nursery, busy)
    notices = await watch(nursery, node, buffer=0)
    await trio.sleep(10 * (PING_INTERVAL + PONG_SECONDS))
    with trio.fail_after(60):
        got = [await notices.receive() for _ in range(count + 1)]
    assert got == [LogsSubscribed(), *map(notice, range(count))]
    assert len(node.attempts) == 1


def beating(*, slots: int, first: int = 100) -> Session:
    """Send so many slots, one every 0.4 s, and then nothing."""

    async def session(websocket: WebSocketConnection) -> None:
        await subscribe(websocket, heartbeat=True)
        for slot in range(first, first + slots):
            await websocket.send_message(slot_notification(slot))
            await trio.sleep(0.4)
        await trio.sleep_forever()

    return session


@pytest.mark.parametrize("newest", [None, moving_chain], ids=["alone", "beside the RPC"])
async def test_a_node_that_sends_no_more_slots_is_left_for_the_next(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    newest: Callable[[], int] | None,
) -> None:
    node = Node(nursery, beating(slots=50), beating(slots=10_000))
    notices = await watch(nursery, node, "ws://one", "ws://two", newest=newest)
    assert await notices.receive() == LogsSubscribed()
    with trio.fail_after(50 * 0.4 + SILENT_SECONDS + 1):
        assert await notices.receive() == LogsSubscribed()
    assert trio.current_time() > 50 * 0.4
    assert [host for host, _ in node.attempts] == ["one", "two"]


async def test_a_node_that_never_confirms_the_slots_is_left_as_well(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def half(websocket: WebSocketConnection) -> None:
        request = json.loads(await websocket.get_message())
        await websocket.send_message(json.dumps({"id": request["id"], "result": 9}))
        await trio.sleep_forever()

    notices = await watch(nursery, Node(nursery, half, half))
    with trio.fail_after(SILENT_SECONDS + 1):
        assert [await notices.receive() for _ in range(2)] == [LogsSubscribed(), LogsSubscribed()]


async def test_while_the_chain_stands_still_nothing_is_lost(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    node = Node(nursery, beating(slots=5, first=100))
    await watch(nursery, node, newest=lambda: 104)
    await trio.sleep(1000)
    assert len(node.attempts) == 1


async def test_a_node_that_has_fallen_behind_the_others_is_left(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    node = Node(nursery, beating(slots=10_000), beating(slots=10_000, first=200))
    notices = await watch(nursery, node, newest=lambda: moving_chain(200))
    with trio.fail_after(SILENT_SECONDS + 2):
        assert [await notices.receive() for _ in range(2)] == [LogsSubscribed(), LogsSubscribed()]
    await trio.sleep(1000)
    assert len(node.attempts) == 2


async def test_a_slow_reader_does_not_mistake_its_backlog_for_a_lagging_node(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        await subscribe(websocket, heartbeat=True)
        for slot in range(100, 2000):
            await websocket.send_message(slot_notification(slot))
            if slot % 100 == 0:
                await websocket.send_message(notification(slot))
            await trio.sleep(0.4)
        await trio.sleep_forever()

    node = Node(nursery, session)
    notices = await watch(nursery, node, buffer=0, newest=moving_chain)
    assert await notices.receive() == LogsSubscribed()
    await trio.sleep(300)
    with trio.fail_after(60):
        assert [await notices.receive() for _ in range(5)] == [
            notice(slot) for slot in range(100, 600, 100)
        ]
    assert len(node.attempts) == 1


async def test_the_url_that_holds_is_preferred_to_one_that_does_not(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def short(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)

    async def long(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        await trio.sleep(STABLE_SECONDS + 11)

    node = Node(nursery, *[short, long] * 2, *[long] * 10)
    await watch(nursery, node, "ws://one", "ws://two")
    await trio.sleep(10 * STABLE_SECONDS)
    hosts = [host for host, _ in node.attempts]
    assert hosts[:5] == ["one", "two", "one", "two", "two"]


async def test_attempts_back_off_up_to_a_limit(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    node = Node(nursery)
    await watch(nursery, node)
    await trio.sleep(120)
    times = [at for _, at in node.attempts]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:4] == pytest.approx([0.25, 0.5, 1.0, 2.0])
    assert gaps[-1] == pytest.approx(MAX_DELAY)


async def test_a_node_that_accepts_and_drops_is_not_asked_at_full_speed(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def drop(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)

    node = Node(nursery, *[drop] * 1000)
    await watch(nursery, node)
    await trio.sleep(60)
    assert len(node.attempts) < 15


async def refuse(websocket: WebSocketConnection) -> None:
    request = json.loads(await websocket.get_message())
    error = {"code": -32602, "message": "no"}
    await websocket.send_message(json.dumps({"id": request["id"], "error": error}))
    await trio.sleep_forever()


async def say_nothing(websocket: WebSocketConnection) -> None:
    await trio.sleep_forever()


async def send_garbage(websocket: WebSocketConnection) -> None:
    await websocket.get_message()
    await websocket.send_message("\0 garbage")
    await trio.sleep_forever()


async def send_another_answer(websocket: WebSocketConnection) -> None:
    await websocket.get_message()
    await websocket.send_message('{"id": 77, "result": 1}')
    await trio.sleep_forever()


@pytest.mark.parametrize(
    "first", [refuse, say_nothing, send_garbage, send_another_answer], ids=lambda f: f.__name__
)
async def test_a_node_that_does_not_confirm_is_left_for_the_next(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, first: Session
) -> None:
    async def good(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        await trio.sleep_forever()

    node = Node(nursery, first, good)
    with trio.fail_after(30):
        notices = await watch(nursery, node, "ws://one", "ws://two")
        assert await notices.receive() == LogsSubscribed()
    assert [host for host, _ in node.attempts] == ["one", "two"]


async def test_a_node_that_hangs_up_before_the_handshake_costs_one_deadline(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    attempts = []

    class Closing(Node):
        async def open_stream(self, target: PubSubTarget) -> trio.abc.Stream:
            attempts.append(trio.current_time())
            ours, theirs = trio.testing.memory_stream_pair()
            await theirs.aclose()
            return ours

    await watch(nursery, Closing(nursery))
    await trio.sleep(CONNECT_SECONDS + FIRST_DELAY + 0.1)
    assert attempts == pytest.approx([0.0, CONNECT_SECONDS + FIRST_DELAY])


async def test_a_node_that_pings_during_the_close_does_no_harm(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def pinging(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        await websocket.send_message('{"id": 1, "error": {}}')
        # As bytes: a well-behaved server's own library would not send it once it sees the close.
        await websocket._stream.send_all(b"\x89\x00" * 100)
        await trio.sleep_forever()

    notices = await watch(nursery, Node(nursery, pinging, pinging))
    with trio.fail_after(30):
        assert [await notices.receive() for _ in range(2)] == [LogsSubscribed(), LogsSubscribed()]


async def test_cancelled_it_ends_at_once_even_when_the_node_does_not_answer_the_close(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def deaf(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        websocket._reader_running = False
        await trio.sleep_forever()

    async with trio.open_nursery() as server, trio.open_nursery() as nursery:
        notices = await watch(nursery, Node(server, deaf))
        assert await notices.receive() == LogsSubscribed()
        began = trio.current_time()
        nursery.cancel_scope.cancel()
        server.cancel_scope.cancel()
    assert trio.current_time() - began <= 1


async def test_the_loss_of_the_channels_reader_is_raised() -> None:
    async def session(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        await trio.sleep_forever()

    with pytest.RaisesGroup(trio.BrokenResourceError, flatten_subgroups=True):
        async with trio.open_nursery() as server:
            notices = await watch(server, Node(server, session))
            await notices.aclose()
