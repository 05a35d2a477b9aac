"""A vault's alerts are its owner's to see, and its proposals those of its signers too."""

from __future__ import annotations

import time
from typing import Any

from solders.keypair import Keypair
from trio_websocket import WebSocketConnection

from cvms.http.framework.admin_tokens import Role
from cvms.http.websocket.topic_access import SIGNED_SECONDS
from cvms.store.alerts import alerts, lifecycle
from cvms.store.alerts.alerts import Observation, Severity
from cvms.store.messaging import outbox
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service, frame, running, subscribe
from tests.http.admin.test_admin_routes import SECRET, token
from tests.http.multisig.signers import Shared, approve, propose, shared_vault
from tests.http.wallets import rows
from tests.http.websocket.test_endpoint import opened
from tests.nursery.world import World
from tests.store.examples import store_vault, vault_row

ALERTS, PROPOSALS = "security_alert", "multisig_event"


async def signed_subscribe(
    service: Service,
    socket: WebSocketConnection,
    topic: str,
    owner: Keypair,
    *,
    signer: Keypair | None = None,
    **fields: Any,
) -> Json:
    """Subscribe with a signature of the owner, or of another signer; `fields` follow it."""
    wallet = signer or owner
    nonce = await service.nonce(wallet)
    text = f"subscribe:{topic}:{owner.pubkey()}:{nonce}"
    signed: Json = {
        "owner": str(owner.pubkey()),
        "nonce": nonce,
        "signature": str(wallet.sign_message(text.encode())),
    }
    if signer is not None:
        signed["signer"] = str(signer.pubkey())
    return await subscribe(socket, topic, **(signed | fields))


async def publish_committed(service: Service) -> None:
    """Hand what is committed to the hub, as the broadcaster does."""
    async with service.database.connection() as conn:
        service.hub.publish(await outbox.after(conn, service.hub.position or 0))


async def observe(service: Service, owner: Keypair, kind: str = "rapid_withdrawals") -> None:
    """Raise an alert about the owner, and publish it."""
    address = str(owner.pubkey())
    seen = Observation(
        kind=kind,
        subject=address,
        owner=address,
        severity=Severity.WARNING,
        summary="21 withdrawals within an hour",
        details={},
    )
    async with service.database.transaction() as conn:
        await alerts.lock(conn)
        await lifecycle.observe(conn, [seen], hook=None)
    await publish_committed(service)


async def test_an_owner_receives_the_alerts_of_the_own_vault_only(service: Service) -> None:
    alice, bob = Keypair(), Keypair()
    await observe(service, alice, "low_balance")
    async with opened(service) as socket:
        reply = await signed_subscribe(service, socket, ALERTS, alice)
        assert reply["type"] == "subscribed"
        assert [each["kind"] for each in reply["snapshot"]["alerts"]] == ["low_balance"]
        await observe(service, bob)
        await observe(service, alice)
        event = await frame(socket)
        assert (event["type"], event["topic"]) == ("event", ALERTS)
        assert event["data"]["owner"] == str(alice.pubkey())
        since = event["seq"]
    await observe(service, alice, "unusual_withdrawal")
    async with opened(service) as socket:
        reply = await signed_subscribe(service, socket, ALERTS, alice, since=since)
        assert reply["snapshot"] is None
        assert (await frame(socket))["data"]["kind"] == "unusual_withdrawal"


async def test_nobody_elses_signature_shows_an_owners_alerts(service: Service) -> None:
    alice, mallory = Keypair(), Keypair()
    async with opened(service) as socket:
        reply = await signed_subscribe(service, socket, ALERTS, alice, signer=mallory)
        assert reply["code"] == "not_allowed"
        nonce = await service.nonce(mallory)
        text = f"subscribe:{PROPOSALS}:{mallory.pubkey()}:{nonce}"
        signature = str(mallory.sign_message(text.encode()))
        fields = {"owner": str(mallory.pubkey()), "nonce": nonce, "signature": signature}
        assert (await subscribe(socket, ALERTS, **fields))["code"] == "invalid_signature"
        del fields["owner"]
        assert (await subscribe(socket, ALERTS, **fields))["code"] == "invalid_request"
        assert (await subscribe(socket, ALERTS))["code"] == "admin_disabled"
        await observe(service, alice)
        await socket.send_message('{"op": "ping"}')
        assert (await frame(socket))["type"] == "pong"
    trail = await rows(service, "SELECT actor, outcome FROM audit_logs ORDER BY id")
    assert [(row["actor"], row["outcome"]) for row in trail] == [(str(mallory.pubkey()), "refused")]


async def test_a_signature_is_good_for_one_subscription(service: Service) -> None:
    alice = Keypair()
    nonce = await service.nonce(alice)
    text = f"subscribe:{ALERTS}:{alice.pubkey()}:{nonce}"
    fields = {
        "owner": str(alice.pubkey()),
        "nonce": nonce,
        "signature": str(alice.sign_message(text.encode())),
    }
    async with opened(service) as socket:
        assert (await subscribe(socket, ALERTS, **fields))["type"] == "subscribed"
        assert (await subscribe(socket, ALERTS, **fields))["code"] == "nonce_used"


async def test_a_signed_subscription_ends_after_a_day_and_others_go_on(database_url: str) -> None:
    clock = [time.time()]
    async with (
        running(database_url, wall_clock=lambda: clock[0], admin_jwt_secret=SECRET) as service,
        opened(service) as socket,
    ):
        alice, bob = Keypair(), Keypair()
        assert (await signed_subscribe(service, socket, ALERTS, alice))["type"] == "subscribed"
        clock[0] += SIGNED_SECONDS / 2
        assert (await signed_subscribe(service, socket, ALERTS, bob))["type"] == "subscribed"
        clock[0] += SIGNED_SECONDS / 2
        await observe(service, bob)
        ended = await frame(socket)
        assert (ended["code"], ended["topic"]) == ("invalid_token", ALERTS)
        assert (await frame(socket))["data"]["owner"] == str(bob.pubkey())
        await observe(service, alice)
        await socket.send_message('{"op": "ping"}')
        assert (await frame(socket))["type"] == "pong"


async def test_signers_follow_a_proposal_live_and_after_a_break(
    front: Service, localnet: Localnet
) -> None:
    shared = await indexed_vault(front, localnet)
    first, second = shared.signers[:2]
    async with opened(front) as socket:
        reply = await signed_subscribe(front, socket, PROPOSALS, shared.owner, signer=first)
        assert (reply["type"], reply["snapshot"]) == ("subscribed", {"proposals": []})
        proposal = await propose(front, shared)
        await approve(front, proposal, first)
        await publish_committed(front)
        created, approval = await frame(socket), await frame(socket)
        assert created["data"]["event"] == "proposal.created"
        assert (created["data"]["proposal_id"], created["data"]["state"]) == (proposal, "open")
        assert approval["data"]["event"] == "proposal.approval"
        assert approval["data"]["signer"] == str(first.pubkey())
        assert approval["data"]["approvals"] == [str(first.pubkey())]
    await approve(front, proposal, second)
    await publish_committed(front)
    async with opened(front) as socket:
        owner = shared.owner
        reply = await signed_subscribe(front, socket, PROPOSALS, owner, since=approval["seq"])
        assert reply["type"] == "subscribed"
        events = [(await frame(socket))["data"] for _ in range(2)]
        assert [each["event"] for each in events] == ["proposal.approval", "proposal.approved"]
        assert events[-1]["state"] == "approved"
        reply = await signed_subscribe(front, socket, PROPOSALS, owner)
        assert [each["proposal_id"] for each in reply["snapshot"]["proposals"]] == [proposal]


async def test_strangers_do_not_see_proposals_and_administrators_see_all(
    database_url: str, localnet: Localnet
) -> None:
    async with running(database_url, **localnet.settings, admin_jwt_secret=SECRET) as front:
        shared = await indexed_vault(front, localnet)
        async with opened(front) as stranger, opened(front) as office:
            assert (await subscribe(stranger, PROPOSALS))["code"] == "invalid_token"
            reply = await signed_subscribe(
                front, stranger, PROPOSALS, shared.owner, signer=Keypair()
            )
            assert reply["code"] == "not_allowed"
            bearer = token(Role.VIEWER)
            assert (await subscribe(office, PROPOSALS, token=bearer))["snapshot"] is None
            proposal = await propose(front, shared)
            await publish_committed(front)
            assert (await frame(office))["data"]["proposal_id"] == proposal
            await stranger.send_message('{"op": "ping"}')
            assert (await frame(stranger))["type"] == "pong"


async def test_a_removed_signer_sees_no_proposal_of_the_others(database_url: str) -> None:
    async with (
        running(database_url, admin_jwt_secret=SECRET) as service,
        opened(service) as removed,
        opened(service) as owned,
    ):
        owner, signer = Keypair(), Keypair()
        name, wallet = str(owner.pubkey()), str(signer.pubkey())
        async with service.database.transaction() as conn:
            state = {"multisig_signers": [wallet]}
            await store_vault(conn, vault_row(owner=name, vault="vault", state=state))
        await signed_subscribe(service, removed, PROPOSALS, owner, signer=signer)
        await signed_subscribe(service, owned, PROPOSALS, owner)
        for number, signers in enumerate(([wallet], ["another"], [wallet, "another"])):
            await publish_proposal(service, name, number=number, signers=signers)
        assert [(await frame(removed))["data"]["number"] for _ in range(2)] == [0, 2]
        assert [(await frame(owned))["data"]["number"] for _ in range(3)] == [0, 1, 2]
        await subscribe(removed, PROPOSALS, token=token(Role.VIEWER))  # as an administrator
        await publish_proposal(service, name, number=3, signers=["another"])
        assert (await frame(removed))["data"]["number"] == 3


async def publish_proposal(service: Service, owner: str, **data: Any) -> None:
    message = outbox.OutboxMessage(
        topic=PROPOSALS, owner=owner, slot=1, signature=None, commitment="confirmed", data=data
    )
    async with service.database.transaction() as conn:
        await outbox.append(conn, [message])
    await publish_committed(service)


async def indexed_vault(front: Service, localnet: Localnet) -> Shared:
    shared = await shared_vault(front)
    await World(localnet.running, front.resources).indexer().catch_up()
    return shared
