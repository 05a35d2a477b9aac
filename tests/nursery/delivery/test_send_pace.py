"""Senders of a process begin a bounded number of messages a second, and take turns."""

from __future__ import annotations

import trio
import trio.testing

from cvms.nursery.delivery.send_pace import BURST, SendPace


async def test_a_backlog_is_sent_at_the_rate_and_leaves_others_their_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pace, sent = SendPace(rate=100), dict.fromkeys(["backlog", "other", "idle"], 0)

    async def send(name: str, messages: int) -> None:
        while True:
            async with pace.turn():
                pace.take(messages)
            sent[name] += messages
            if not messages:
                await trio.sleep(1)

    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        for name, messages in (("backlog", 50), ("other", 50), ("idle", 0)):
            nursery.start_soon(send, name, messages)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    seconds = trio.current_time() - begin
    assert abs(sent["backlog"] + sent["other"] - 100 * seconds) <= BURST + 100
    assert abs(sent["backlog"] - sent["other"]) <= 50
