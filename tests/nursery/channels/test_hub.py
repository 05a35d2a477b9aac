"""All subscribers receive the same frames in the same order, and a slow one affects no other."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import trio.testing

from cvms.nursery.channels.hub import Hub, OutboxFrame
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import SubmitWakeup
from cvms.store.messaging.outbox import OutboxRow
from tests.nursery.delivery.mailbox import Mailbox


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


async def test_filters_by_topic_and_owner_deliver_each_event_once() -> None:
    hub = Hub()
    subscriber = Mailbox(hub, ("deposit_event", "alice"), ("deposit_event", None))
    hub.publish([row(1, owner="alice"), row(2, owner="bob")])
    hub.unsubscribe(subscriber, "deposit_event")
    hub.publish([row(3, owner="bob"), row(4, topic="withdraw_event", owner="alice")])
    hub.publish([row(5, owner="alice")])
    hub.unsubscribe(subscriber, "deposit_event", "alice")
    hub.unsubscribe(subscriber, "deposit_event", "nobody")
    hub.publish([row(6, owner="alice")])
    hub.unregister(subscriber)
    hub.unregister(subscriber)
    assert [frame.position for frame in subscriber.frames] == [1, 2, 5]
    assert len(hub) == 0
    assert hub.position == 6


async def test_each_batch_is_flushed_once_to_its_receivers() -> None:
    hub = Hub()
    one, other = Mailbox(hub, ("deposit_event", None)), Mailbox(hub, ("deposit_event", "bob"))
    hub.publish([row(1), row(2), row(3)])
    assert (one.flushed, other.flushed) == (1, 0)


async def test_one_that_leaves_while_it_is_notified_disturbs_no_other() -> None:
    class Leaver(Mailbox):
        def offer(self, frame: OutboxFrame) -> None:
            super().offer(frame)
            hub.unregister(self)

    hub = Hub()
    subscribers = [kind(hub, ("deposit_event", None)) for kind in (Mailbox, Leaver, Mailbox)]
    hub.publish([row(1), row(2)])
    assert [len(subscriber.frames) for subscriber in subscribers] == [2, 1, 2]
    assert len(hub) == 2


async def test_after_missed_rows_all_subscribers_are_dropped() -> None:
    hub = Hub()
    subscriber = Mailbox(hub, ("deposit_event", None))
    hub.reset(5)
    hub.publish([row(6)])
    assert subscriber.dropped
    assert subscriber.frames == []
    assert (len(hub), hub.position) == (0, 6)


async def test_all_receivers_share_one_serialized_frame() -> None:
    hub = Hub()
    one, other = (Mailbox(hub, ("deposit_event", None)) for _ in range(2))
    hub.publish([row(1)])
    [frame], [same] = one.frames, other.frames
    assert frame is same
    assert frame.wire[:4] == b"\x81\x7e" + (len(frame.wire) - 4).to_bytes(2, "big")
    assert msgspec.json.decode(frame.wire[4:]) == {
        "type": "event",
        "topic": "deposit_event",
        "seq": 1,
        "slot": 7,
        "signature": "5ig",
        "commitment": "confirmed",
        "data": {"amount": 2**63 - 1},
    }


async def test_a_wakeup_before_the_wait_is_kept_and_two_merge(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wake = SubmitWakeup()
    wake.wake()
    wake.wake()
    assert await wake.wait(1)
    assert not await wake.wait(1)


def test_the_board_is_ready_when_every_component_is_and_records_since_when() -> None:
    board = StatusBoard(["database", "rpc"])
    assert not board.ready
    board.set_component("database", ok=True, detail="answers")
    since = board.components["database"].since
    board.set_component("rpc", ok=True, detail="answers")
    board.set_component("database", ok=True, detail="still answers")
    assert board.ready
    assert board.components["database"].since == since
    board.set_component("rpc", ok=False, detail="refused")
    assert not board.ready
    assert board.components["rpc"].detail == "refused"
