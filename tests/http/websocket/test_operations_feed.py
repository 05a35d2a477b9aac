"""Operators see the state of the service change, and nobody else does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import trio
from trio.testing import MockClock

from cvms.http.framework.admin_tokens import Role
from cvms.http.websocket.operations_feed import OperationsFeed
from cvms.nursery.channels.hub import Hub, OutboxFrame
from cvms.nursery.channels.operations_overview import (
    AlertCounts,
    OperationsOverview,
    OperatorState,
)
from cvms.store.messaging.topics import Topic
from tests.harness.service import frame, running, subscribe
from tests.http.admin.test_admin_routes import SECRET, token
from tests.websockets import opened


def overview(**changes: Any) -> OperationsOverview:
    plain = OperationsOverview(
        at=datetime.now(UTC),
        version="1",
        revision=None,
        slot=1,
        chain_slot=1,
        lag_seconds=0.0,
        total_value_locked=0,
        active_vaults=0,
        components={},
        checks={},
        warnings={},
        operator=OperatorState(address="a", lamports=None, minimum_lamports=0, pays=True),
        alerts=AlertCounts(),
        submissions={},
        endpoints=[],
        instances=[],
    )
    return msgspec.structs.replace(plain, **changes)


class Listener:
    """A subscriber of the hub that keeps the times and numbers of its frames."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, int]] = []

    def offer(self, frame: OutboxFrame) -> None:
        self.heard.append((round(trio.current_time(), 1), frame.seq))

    def flush(self) -> None: ...

    def drop_slow(self) -> None: ...


async def test_a_change_is_sent_within_a_second_and_sameness_every_ten(
    autojump_clock: MockClock,
) -> None:
    hub, listener, reads = Hub(), Listener(), 0
    state = overview()

    async def read() -> OperationsOverview:
        nonlocal reads
        reads += 1
        return msgspec.structs.replace(state, at=datetime.now(UTC))

    feed = OperationsFeed(hub, read)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        began = trio.current_time()
        await trio.sleep(30.5)
        assert reads == 0  # nobody has asked
        hub.register(listener)
        hub.subscribe(listener, Topic.OPERATIONS)
        await trio.sleep(12)
        state = overview(slot=2)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    heard = [(round(at - began, 1), seq) for at, seq in listener.heard]
    assert heard == [(31.0, 1), (41.0, 2), (43.0, 3)]


async def test_an_operator_gets_the_overview_and_its_changes(database_url: str) -> None:
    async with (
        running(database_url, admin_jwt_secret=SECRET) as service,
        opened(service.url.replace("http", "ws", 1) + "/ws") as socket,
    ):
        assert (await frame(socket))["type"] == "connected"
        for fields, code in refusals():
            refused = await subscribe(socket, "operations", **fields)
            assert (refused["type"], refused["code"]) == ("error", code), fields
        bearer = token(Role.VIEWER)
        first = await subscribe(socket, "operations", token=bearer)
        assert (first["type"], first["owner"]) == ("subscribed", None)
        assert first["snapshot"].keys() == overview_fields()
        service.board.warnings["webhook"] = "it fails"
        event = await next_event(socket)
        while not event["data"]["warnings"]:
            event = await next_event(socket)
        assert event["seq"] > first["seq"]
        assert event["data"].keys() == overview_fields()
        again = await subscribe(socket, "operations", token=bearer, since=10**9)
        assert again["type"] == "reset"


def refusals() -> list[tuple[dict[str, Any], str]]:
    owner = "1" * 32
    signed = {"owner": owner, "nonce": "n" * 16, "signature": "s" * 64}
    return [
        ({}, "invalid_token"),
        ({"token": "x"}, "invalid_token"),
        (signed, "invalid_request"),
        ({"owner": owner, "token": token(Role.ADMIN)}, "invalid_request"),
    ]


def overview_fields() -> set[str]:
    return set(OperationsOverview.__struct_encode_fields__)


async def next_event(socket: Any) -> Any:
    while (message := await frame(socket))["type"] != "event":
        pass
    return message
