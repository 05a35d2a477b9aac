"""/asyncapi.json is valid, and describes every frame that is really sent and taken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio
from solders.keypair import Keypair
from trio_websocket import ConnectionClosed, WebSocketConnection

from cvms.demo import Addresses, run_demo
from cvms.http.framework.admin_tokens import Role
from cvms.http.multisig.proposal_view import publish
from cvms.http.websocket.topic_access import GUARDED
from cvms.http.websocket.topic_schemas import SCHEMAS
from cvms.nursery.ledger.outbox_messages import event_message
from cvms.store.alerts import alerts, lifecycle
from cvms.store.messaging import outbox
from cvms.store.messaging.topics import KINDS_OF, Topic
from cvms.store.postgres.database import Database
from cvms.store.submissions.multisig_proposals import Proposal
from cvms.store.vaults.history import HistoryRow
from tests.clients.typescript import SOURCE, require_modules, run
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service, whole_service
from tests.http.admin.test_admin_routes import SECRET, token
from tests.http.websocket.test_account_subscriptions import set_account
from tests.paths import DOCS
from tests.websockets import opened

DEMO_SECONDS = 120
MALFORMED: list[Json] = [
    {"op": "subscribe"},
    {"op": "subscribe", "topic": "weather"},
    {"op": "subscribe", "topic": "tvl_update", "since": -1},
    {"op": "subscribe", "topic": "tvl_update", "color": "red"},
    {"op": "subscribe", "topic": "tvl_update", "owner": "nobody"},
    {"op": "dance"},
]


class Recorder:
    """A WebSocket whose frames are recorded in both directions."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._arrived = trio.Condition()
        self.sent: list[Json] = []
        self.received: list[Json] = []

    async def listen(self) -> None:
        """Record what the service sends until it closes."""
        while True:
            try:
                frame: Json = json.loads(await self._socket.get_message())
            except ConnectionClosed:
                return
            async with self._arrived:
                self.sent.append(frame)
                self._arrived.notify_all()

    async def ask(self, frame: Json) -> None:
        if frame not in MALFORMED:
            self.received.append(frame)
        await self._socket.send_message(json.dumps(frame))

    async def until(self, **fields: Any) -> None:
        """Wait for a frame with these fields."""
        await self.until_any(lambda frame: fields.items() <= frame.items())

    async def until_any(self, matches: Callable[[Json], bool]) -> None:
        """Wait for a frame that matches."""
        with trio.fail_after(20):
            async with self._arrived:
                while not any(map(matches, self.sent)):
                    await self._arrived.wait()


def shows_the_leader(frame: Json) -> bool:
    """Return whether a frame is an overview of an indexed slot, in which this process leads."""
    if (frame["type"], frame.get("topic")) != ("event", Topic.OPERATIONS):
        return False
    overview = frame["data"]
    return [each["leader"] for each in overview["instances"]] == [True] and overview["slot"] > 0


@pytest.mark.slow(seconds=15)
async def test_every_frame_is_one_of_the_documents_messages(
    database_url: str, localnet: Localnet, tmp_path: Path
) -> None:
    """The demo makes movements of nearly all kinds; the rest is written as the service does."""
    require_modules()
    settings = localnet.settings | {"admin_jwt_secret": SECRET}
    async with whole_service(database_url, **settings) as system, trio.open_nursery() as nursery:
        async with opened(system.url.replace("http", "ws", 1) + "/ws") as socket:
            recorder = Recorder(socket)
            nursery.start_soon(recorder.listen)
            bearer, alice = token(Role.VIEWER), str(Keypair().pubkey())
            for topic in Topic:
                access = {"token": bearer} if topic in GUARDED else {}
                await recorder.ask({"op": "subscribe", "topic": topic, **access})
                await recorder.until(type="subscribed", topic=topic)
            at = Addresses(url=system.url, rpc_url=localnet.rpc_url, programs=localnet.programs)
            with trio.fail_after(DEMO_SECONDS):
                await run_demo(at, say=lambda _: None)
            await write_the_rest(system.database, alice)
            await recorder.until(type="retracted")
            await recorder.until(type="event", topic="security_alert")
            events = [each["data"] for each in recorder.sent if each["type"] == "event"]
            owner = next(each["owner"] for each in events if "owner" in each)
            await snapshots(recorder, owner)
            await account(recorder, localnet)
            await recorder.until_any(shows_the_leader)
        document = (await system.get("/asyncapi.json")).content
        nursery.cancel_scope.cancel()
    (tmp_path / "asyncapi.json").write_bytes(document)
    frames = {"sent": recorder.sent, "received": recorder.received, "invalid": MALFORMED}
    (tmp_path / "frames.json").write_text(json.dumps(frames))
    files = {
        "CVMS_ASYNCAPI": str(tmp_path / "asyncapi.json"),
        "CVMS_FRAMES": str(tmp_path / "frames.json"),
    }
    test = partial(run, "node", "--test", "test/asyncapi.test.mjs", cwd=SOURCE, environ=files)
    await trio.to_thread.run_sync(test)


async def snapshots(recorder: Recorder, owner: str) -> None:
    for topic in Topic:
        if topic not in GUARDED:
            await recorder.ask({"topic": topic, "owner": owner})
            await recorder.until(type="subscribed", topic=topic, owner=owner)
    await recorder.ask({"op": "subscribe", "topic": "tvl_update", "since": 2**60})
    await recorder.until(type="reset", topic="tvl_update")
    await recorder.ask({"op": "unsubscribe", "topic": "tvl_update"})
    await recorder.until(type="unsubscribed", topic="tvl_update")
    await recorder.ask({"op": "ping"})
    await recorder.until(type="pong")
    await recorder.ask(MALFORMED[0])
    await recorder.until(type="error")


async def account(recorder: Recorder, localnet: Localnet) -> None:
    key = Keypair().pubkey()
    set_account(localnet, key, lamports=5)
    await recorder.ask({"subscribe": str(key)})
    await recorder.until(type="subscribed", pubkey=str(key))
    set_account(localnet, key, lamports=6)
    await recorder.until(type="account", pubkey=str(key))
    localnet.running.faults.refuse_pubsub = True
    localnet.running.cut_pubsub()
    await recorder.until(type="stale", pubkey=str(key))
    localnet.running.faults.refuse_pubsub = False
    await recorder.ask({"unsubscribe": str(key)})
    await recorder.until(type="unsubscribed", pubkey=str(key))


async def write_the_rest(database: Database, owner: str) -> None:
    """Write a transfer, its retraction, a proposal's event and an alert, as the service does."""
    line = HistoryRow(
        owner=owner,
        vault=owner,
        kind="transfer_in",
        amount=5,
        balance_after=None,
        slot=7,
        block_time=None,
        signature="5ig",
        instruction_index=0,
        ordinal=0,
        commitment="confirmed",
    )
    messages = [event_message(line, {"memo": "x"}), event_message(line, {}, kind="retracted")]
    seen = alerts.Observation(
        kind="test",
        subject="a test",
        severity=alerts.Severity.INFO,
        summary="A test raises an alert.",
        details={},
        owner=owner,
    )
    now = datetime.now(UTC)
    proposal = Proposal(
        id=uuid4(),
        owner=owner,
        amount=5,
        threshold=2,
        signers=(owner, str(Keypair().pubkey())),
        slot=7,
        version=1,
        created_at=now,
        expires_at=now,
        expired=False,
        cancelled=False,
        approvals={owner: now},
        transaction=None,
    )
    async with database.transaction() as conn:
        await alerts.lock(conn)
        await publish(conn, "proposal.approval", proposal, signer=owner)
        await outbox.append(conn, messages)
        await lifecycle.observe(conn, [seen], hook=None)


async def test_what_the_document_does_not_know_is_refused(service: Service) -> None:
    async with opened(service.url.replace("http", "ws", 1) + "/ws") as socket:
        await socket.get_message()
        for frame in MALFORMED:
            await socket.send_message(json.dumps(frame))
            reply = json.loads(await socket.get_message())
            assert (reply["type"], reply["code"]) == ("error", "invalid_request"), frame


async def test_the_document_and_the_page_name_every_topic(service: Service) -> None:
    document = (await service.get("/asyncapi.json")).json()
    assert SCHEMAS.keys() == set(Topic) >= KINDS_OF.keys()
    assert {topic.value for topic in Topic} <= document["components"]["messages"].keys()
    page = (DOCS / "websocket.md").read_text()
    table = page[page.index("## Topics") : page.index("## Frames to the client")]
    assert set(Topic) <= set(re.findall(r"`(\w+)`", table))


async def test_patterns_are_those_of_ecmascript(service: Service) -> None:
    assert r"\\Z" not in (await service.get("/asyncapi.json")).text
