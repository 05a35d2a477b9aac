"""A nonce is valid for its lifetime by the database's clock, and comes with the text to sign."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.harness.service import Service, running
from tests.http.auth.test_wallet_security import TABLE
from tests.http.wallets import signed
from tests.postgres_server import DatabaseClock

DAYS = 86_400


@pytest.mark.parametrize("difference", [-10 * DAYS, 0, 10 * DAYS])
async def test_clocks_that_differ_neither_shorten_nor_extend_a_nonce(
    database_url: str, difference: float
) -> None:
    clock = DatabaseClock(database_url, float(int(time.time()) + difference))
    wallet = Keypair()
    async with running(database_url, nonce_ttl=60) as service:
        reply = await service.post("/api/auth/nonce", {"owner": str(wallet.pubkey())})
        assert datetime.fromisoformat(reply.json()["expires_at"]).timestamp() == clock.now + 60
        body = await signed(service, wallet, "withdraw", ("amount", 1))
        clock.now += 59
        reply = await service.post("/api/vault/withdraw", body)
        assert reply.json()["code"] == "chain_unavailable"  # let through
        clock.now += 1
        reply = await service.post("/api/vault/withdraw", body)
        assert reply.json()["code"] == "nonce_expired"


WALLET, KEY = str(Keypair().pubkey()), str(Pubkey([7] * 32))
NONCE = "/api/auth/nonce"
TOPIC = "multisig_event"


async def test_without_an_action_there_is_only_the_nonce(service: Service) -> None:
    reply = await service.post(NONCE, {"owner": WALLET})
    assert (reply.status_code, reply.json().keys()) == (200, {"nonce", "expires_at"})


async def test_the_text_is_the_one_that_the_request_needs(service: Service) -> None:
    for row in TABLE.values():
        fields = {name: value for name, (value, _) in row.fields.items()}
        for changed in ({}, {name: other for name, (_, other) in row.fields.items()}):
            values = {name: fields[name] for name in fields if name not in row.unsigned} | {
                name: changed[name] for name in changed if name not in row.unsigned
            }
            action = row.text.partition(":")[0]
            body = {"owner": WALLET, "action": action, "fields": values}
            reply = await service.post(NONCE, body)
            assert reply.status_code == 200, reply.text
            said = row.said({row.signer: WALLET, **values, "nonce": reply.json()["nonce"]})
            assert reply.json()["message"] == said


async def test_a_field_has_the_form_that_the_service_will_read_in_the_request(
    service: Service,
) -> None:
    body = {"owner": WALLET, "action": "deposit", "fields": {"amount": "5000000000"}}
    reply = (await service.post(NONCE, body)).json()
    assert reply["message"] == f"deposit:{WALLET}:5000000000:{reply['nonce']}"


async def test_a_subscription_is_signed_for_the_own_vault_or_for_another(service: Service) -> None:
    for fields, owner in (({}, WALLET), ({"owner": KEY}, KEY)):
        body = {"owner": WALLET, "action": "subscribe", "fields": {"topic": TOPIC, **fields}}
        reply = await service.post(NONCE, body)
        assert reply.status_code == 200, reply.text
        text = f"subscribe:{TOPIC}:{owner}:{reply.json()['nonce']}"
        assert reply.json()["message"] == text


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"action": "steal"}, "action"),
        ({"action": "withdraw"}, "fields.amount"),
        ({"action": "withdraw", "fields": {}}, "fields.amount"),
        ({"action": "withdraw", "fields": {"amount": None}}, "fields.amount"),
        ({"action": "withdraw", "fields": {"amount": 0}}, "fields.amount"),
        ({"action": "withdraw", "fields": {"amount": 1, "address": KEY}}, "fields.address"),
        ({"action": "withdraw", "fields": {"amount": 1, "owner": KEY}}, "fields.owner"),
        ({"action": "approve_withdraw", "fields": {"owner": KEY}}, "fields.owner"),
        ({"action": "withdraw", "fields": {"amount": 1, "recipient": "x:y"}}, "fields.recipient"),
        ({"action": "propose_withdraw", "fields": {"amount": 1, "threshold": 11}}, "fields"),
        ({"fields": {"amount": 1}}, "fields"),
        ({"action": ["withdraw"]}, "action"),
    ],
)
async def test_a_request_that_could_not_be_made_gets_no_nonce(
    service: Service, body: dict[str, Any], path: str
) -> None:
    reply = await service.post(NONCE, {"owner": WALLET, **body})
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), reply.text
    assert reply.json()["errors"][0]["path"].startswith(path)
