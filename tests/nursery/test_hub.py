"""A slow subscriber loses its own place and nobody else's; everyone sees the same order."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
import trio
import trio.testing

from cvms.nursery.channels import Board, Hub, SubmitWake, outbox_frame
from cvms.store.outbox import OutboxRow


def row(position: int, topic: str = "deposit_event", owner: str | None = "alice") -> OutboxRow:
    return OutboxRow(
        position=position,
        topic=topic,
        seq=position,
        owner=owner,
        slot=7,
        signature="5ig",
        commitment="confirmed",
        data={"amount": 2**63 - 1},
        created_at=datetime.now(UTC),
    )


async def test_a_slow_subscriber_is_closed_and_the_others_are_undisturbed() -> None:
    hub = Hub()
    slow, quick = hub.register(queue_size=3), hub.register(queue_size=3)
    for subscriber in (slow, quick):
        subscriber.subscribe("deposit_event")
    for position in range(1, 11):
        hub.publish(row(position))
        assert (await quick.receive()).position == position
    assert slow.overflowed
    assert not quick.overflowed
    assert len(hub) == 1
    with pytest.raises(trio.EndOfChannel):
        await slow.receive()


async def test_one_who_waits_is_told_at_once_that_it_was_closed() -> None:
    hub = Hub()
    subscriber = hub.register()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.EndOfChannel):
                await subscriber.receive()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        hub.reset(5)
    assert subscriber.overflowed
    assert hub.position == 5


async def test_filters_by_topic_and_owner_deliver_each_event_once() -> None:
    hub = Hub()
    subscriber = hub.register()
    subscriber.subscribe("deposit_event", "alice")
    subscriber.subscribe("deposit_event")
    hub.publish(row(1, owner="alice"))
    hub.publish(row(2, owner="bob"))
    subscriber.unsubscribe("deposit_event")
    hub.publish(row(3, owner="bob"))
    hub.publish(row(4, topic="withdraw_event", owner="alice"))
    hub.publish(row(5, owner="alice"))
    subscriber.unsubscribe("deposit_event", "alice")
    subscriber.unsubscribe("deposit_event", "nobody")
    hub.publish(row(6, owner="alice"))
    subscriber.close()
    subscriber.close()
    assert [(await subscriber.receive()).position for _ in range(3)] == [1, 2, 5]
    with pytest.raises(trio.EndOfChannel):
        await subscriber.receive()


async def test_all_receivers_share_one_serialized_frame() -> None:
    hub = Hub()
    subscribers = [hub.register() for _ in range(2)]
    for subscriber in subscribers:
        subscriber.subscribe("deposit_event")
    hub.publish(row(1))
    one, other = [await subscriber.receive() for subscriber in subscribers]
    assert one is other
    assert one == outbox_frame(row(1))
    assert msgspec.json.decode(one.payload) == {
        "type": "event",
        "topic": "deposit_event",
        "seq": 1,
        "slot": 7,
        "signature": "5ig",
        "commitment": "confirmed",
        "data": {"amount": 2**63 - 1},
    }


async def test_a_wake_before_the_wait_is_not_lost_and_two_are_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wake = SubmitWake()
    wake.wake()
    wake.wake()
    assert await wake.wait(1)
    assert not await wake.wait(1)


def test_the_board_is_ready_when_every_part_is_and_remembers_since_when() -> None:
    board = Board(["database", "rpc"])
    assert not board.ready
    board.set_part("database", ok=True, detail="answers")
    since = board.parts["database"].since
    board.set_part("rpc", ok=True, detail="answers")
    board.set_part("database", ok=True, detail="answers still")
    assert board.ready
    assert board.parts["database"].since == since
    board.set_part("rpc", ok=False, detail="refused")
    assert not board.ready
    assert board.parts["rpc"].detail == "refused"
