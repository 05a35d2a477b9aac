"""Account subscriptions against nodes that refuse, are silent, send garbage or disconnect.

They use memory streams and an autojump clock, so every wait is virtual.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from solders.pubkey import Pubkey
from trio_websocket import WebSocketConnection

from cvms.chain.pubsub.account_subscription import (
    DATA_BYTES,
    RETRY_SECONDS,
    AccountAt,
    watch_accounts,
)
from cvms.chain.pubsub.log_subscription import SUBSCRIBE_SECONDS
from cvms.chain.types import Commitment
from tests.chain.pubsub.scripted_pubsub import Node, Session

KEY, OTHER = Pubkey.new_unique(), Pubkey.new_unique()


class RecordingListener:
    """Listener that wants accounts, and records its notifications."""

    def __init__(self, *keys: Pubkey) -> None:
        self.wanted = frozenset(keys)
        self.change = trio.Event()
        self.notified: list[tuple[str, Any]] = []
        self.news = trio.Event()

    def want(self, *keys: Pubkey) -> None:
        self.wanted = frozenset(keys)
        self.change.set()
        self.change = trio.Event()

    def subscribed(self, key: Pubkey) -> None:
        self._note("subscribed", key)

    def unsubscribed(self, key: Pubkey) -> None:
        self._note("unsubscribed", key)

    def updated(self, account: AccountAt) -> None:
        self._note("updated", account)

    def subscription_refused(self, key: Pubkey) -> None:
        self._note("subscription refused", key)

    def lost(self) -> None:
        self._note("lost", None)

    def _note(self, what: str, which: Any) -> None:
        self.notified.append((what, which))
        self.news.set()

    async def until(self, what: str, times: int = 1) -> Any:
        """Wait for so many notifications of this kind, and return the last one's value."""
        with trio.fail_after(200):
            while Counter(each for each, _ in self.notified)[what] < times:
                self.news = trio.Event()
                await self.news.wait()
        return [which for each, which in self.notified if each == what][-1]


def notification(number: Any, *, data: bytes = b"", slot: Any = 7) -> str:
    value = {
        "lamports": 5,
        "owner": str(OTHER),
        "data": [base64.b64encode(data).decode(), "base64"],
        "executable": False,
        "rentEpoch": 0,
    }
    params = {"result": {"context": {"slot": slot}, "value": value}, "subscription": number}
    return json.dumps({"jsonrpc": "2.0", "method": "accountNotification", "params": params})


class Script:
    """A node that numbers its subscriptions from 0, and records its requests."""

    def __init__(self, *, refuse: int = 0) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._refuse = refuse
        self._number = -1

    async def take(self, websocket: WebSocketConnection) -> str:
        """Respond to the next call, and return its method."""
        call = json.loads(await websocket.get_message())
        self.calls.append((call["method"], call["params"]))
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
        if self._refuse:
            self._refuse -= 1
            answer["error"] = {"code": -32005, "message": "too many subscriptions"}
        elif call["method"] == "accountSubscribe":
            self._number += 1
            answer["result"] = self._number
        else:
            answer["result"] = True
        await websocket.send_message(json.dumps(answer))
        return str(call["method"])

    async def serve(self, websocket: WebSocketConnection) -> None:
        while True:
            await self.take(websocket)


def follow(nursery: trio.Nursery, listener: RecordingListener, *sessions: Session) -> Node:
    node = Node(nursery, *sessions)
    watch = partial(watch_accounts, ["ws://node"], listener, commitment=Commitment.CONFIRMED)
    nursery.start_soon(partial(watch, open_stream=node.open_stream, jitter=lambda: 1.0))
    return node


async def test_no_connection_is_made_before_an_account_is_wanted(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    listener, script = RecordingListener(), Script()
    node = follow(nursery, listener, script.serve)
    await trio.sleep(3600)
    assert node.attempts == []
    listener.want(KEY)
    assert await listener.until("subscribed") == KEY
    [(method, [key, options])] = script.calls
    assert (method, key) == ("accountSubscribe", str(KEY))
    assert options["commitment"] == "confirmed"
    assert options["dataSlice"] == {"offset": 0, "length": DATA_BYTES + 1}


async def test_an_account_that_is_no_longer_wanted_is_unsubscribed_and_may_return(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    listener, script = RecordingListener(KEY, OTHER), Script()
    follow(nursery, listener, script.serve)
    await listener.until("subscribed", 2)
    listener.want(OTHER)
    assert await listener.until("unsubscribed") == KEY
    listener.want(KEY, OTHER)
    assert await listener.until("subscribed", 3) == KEY
    methods = [method for method, _ in script.calls]
    assert methods == ["accountSubscribe"] * 2 + ["accountUnsubscribe", "accountSubscribe"]


async def test_clients_that_come_and_go_at_once_cost_the_node_nothing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    listener, script = RecordingListener(OTHER), Script()
    follow(nursery, listener, script.serve)
    await listener.until("subscribed")
    for _ in range(1000):
        listener.want(OTHER, Pubkey.new_unique())
        await trio.lowlevel.checkpoint()
        listener.want(OTHER)
    await trio.sleep(60)
    assert len(script.calls) < 5


async def test_changes_are_reported_with_their_slot_and_truncated(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        await script.take(websocket)
        await websocket.send_message(notification(99))  # of a subscription that is not ours
        await websocket.send_message(notification(0, data=b"x" * (DATA_BYTES + 1)))
        await trio.sleep_forever()

    listener, script = RecordingListener(KEY), Script()
    follow(nursery, listener, session)
    account = await listener.until("updated")
    assert (account.key, account.slot, account.lamports) == (KEY, 7, 5)
    assert (len(account.data), account.truncated) == (DATA_BYTES, True)
    assert [what for what, _ in listener.notified] == ["subscribed", "updated"]


async def test_a_lost_connection_is_reported_and_every_account_is_subscribed_again(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def short(websocket: WebSocketConnection) -> None:
        await Script().take(websocket)

    listener, script = RecordingListener(KEY), Script()
    node = follow(nursery, listener, short, short, script.serve)
    await listener.until("subscribed", 3)
    assert [what for what, _ in listener.notified] == [
        "subscribed",
        "lost",
        "subscribed",
        "lost",
        "subscribed",
    ]
    assert len(node.attempts) == 3


async def test_an_unreachable_chain_is_reported(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    listener = RecordingListener(KEY)
    follow(nursery, listener)
    await listener.until("lost", 3)


async def test_a_refused_subscription_is_reported_and_requested_again_later(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    listener, script = RecordingListener(KEY), Script(refuse=1)
    node = follow(nursery, listener, script.serve)
    assert await listener.until("subscription refused") == KEY
    began = trio.current_time()
    assert await listener.until("subscribed") == KEY
    assert RETRY_SECONDS <= trio.current_time() - began < RETRY_SECONDS + 10
    assert len(node.attempts) == 1


async def test_a_silent_node_is_disconnected(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def silent(websocket: WebSocketConnection) -> None:
        await trio.sleep_forever()

    listener, script = RecordingListener(KEY), Script()
    node = follow(nursery, listener, silent, script.serve)
    began = trio.current_time()
    await listener.until("lost")
    assert SUBSCRIBE_SECONDS <= trio.current_time() - began < SUBSCRIBE_SECONDS + 10
    await listener.until("subscribed")
    assert len(node.attempts) == 2


async def test_what_a_gateway_adds_is_skipped_and_an_unreadable_change_is_fetched(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    unreadable = (
        notification(0, slot="soon"),
        notification(0).replace('["", "base64"]', '["!", "base64"]'),
    )

    async def session(websocket: WebSocketConnection) -> None:
        await websocket.send_message(notification(0))  # before its subscription's answer
        await script.take(websocket)
        for text in ("\0", "[" * 100_000, '{"params": {}}', '{"error": "slow down"}', *unreadable):
            await websocket.send_message(text)
        await websocket.send_message(notification(0))
        await script.serve(websocket)

    listener, script = RecordingListener(KEY), Script()
    node = follow(nursery, listener, session)
    await listener.until("updated")
    assert [what for what, _ in listener.notified] == ["subscribed"] * 3 + ["updated"]
    listener.want(KEY, OTHER)
    assert await listener.until("subscribed", 4) == OTHER
    await trio.sleep(3600)
    assert len(node.attempts) == 1


@pytest.mark.parametrize("number", ["7", "0xabc", 7.5])
async def test_a_subscription_may_have_any_id(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, number: Any
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        call = json.loads(await websocket.get_message())
        await websocket.send_message(json.dumps({"id": call["id"], "result": number}))
        await websocket.send_message(notification(number))
        await script.serve(websocket)

    listener, script = RecordingListener(KEY), Script()
    node = follow(nursery, listener, session)
    assert (await listener.until("updated")).key == KEY
    listener.want(OTHER)
    await listener.until("subscribed", 2)
    assert ("accountUnsubscribe", [number]) in script.calls
    assert len(node.attempts) == 1


@pytest.mark.parametrize("name", [{}, {"id": None}])
async def test_a_refusal_of_no_request_counts_for_the_one_without_an_answer(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, name: dict[str, Any]
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        await websocket.get_message()
        await websocket.send_message(json.dumps({"error": {"code": -32005}, **name}))
        await script.serve(websocket)

    listener, script = RecordingListener(KEY), Script()
    node = follow(nursery, listener, session)
    listener.want(KEY, OTHER)
    refused = await listener.until("subscription refused")
    assert [which for what, which in listener.notified if what == "subscribed"] != [refused]
    assert await listener.until("subscribed", 2) == refused
    assert len(node.attempts) == 1


async def test_two_accounts_with_one_subscription_are_never_mistaken_for_each_other(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def session(websocket: WebSocketConnection) -> None:
        for _ in range(2):
            call = json.loads(await websocket.get_message())
            await websocket.send_message(json.dumps({"id": call["id"], "result": 0}))
        await websocket.send_message(notification(0))
        await trio.sleep_forever()

    listener, script = RecordingListener(KEY, OTHER), Script()
    follow(nursery, listener, session, script.serve)
    await listener.until("subscribed", 3)
    assert [what for what, _ in listener.notified] == ["subscribed", "lost", *["subscribed"] * 2]
