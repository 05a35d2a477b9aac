"""A request repeated with its key gets the first answer and has no second effect."""

from __future__ import annotations

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.http.framework.admin_tokens import Role, mint
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service, running
from tests.http.wallets import USDT, cosigned, funded, initialize, rows, sent, signed, with_vault

WITHDRAW = "/api/vault/withdraw"


async def send(front: Service, body: Json, key: str, route: str = WITHDRAW) -> httpx.Response:
    url = front.url + route
    return await front.http.post(url, json=body, headers={"Idempotency-Key": key})


async def test_a_repeated_request_gets_the_first_answer(front: Service) -> None:
    wallet = await with_vault(front, amount=10 * USDT, delegate=True)
    body = await signed(front, wallet, "withdraw", ("amount", 1 * USDT))
    first = await send(front, body, "one")
    again = await send(front, dict(reversed(body.items())), "one")
    assert first.status_code == again.status_code == 202
    assert again.content == first.content
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(await rows(front, "SELECT 1 FROM submissions")) == 1


async def test_another_request_under_the_same_key_is_a_conflict(front: Service) -> None:
    wallet = await with_vault(front, amount=10 * USDT, delegate=True)
    body = await signed(front, wallet, "withdraw", ("amount", 1 * USDT))
    assert (await send(front, body, "one")).status_code == 202
    other = await signed(front, wallet, "withdraw", ("amount", 2 * USDT))
    reply = await send(front, other, "one")
    assert (reply.status_code, reply.json()["code"]) == (409, "idempotency_key_reused")
    elsewhere = await send(front, body, "one", "/api/vault/deposit")
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "idempotency_key_reused")
    assert (await send(front, other, "two")).status_code == 202


async def test_twenty_at_once_under_one_key_are_one(front: Service) -> None:
    wallet = await with_vault(front, amount=100 * USDT, delegate=True)
    body = await signed(front, wallet, "withdraw", ("amount", 1 * USDT))
    replies: list[httpx.Response] = []

    async def ask() -> None:
        replies.append(await send(front, body, "one"))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.content for reply in replies}) == 1
    assert len(await rows(front, "SELECT 1 FROM submissions")) == 1
    used = await rows(front, "SELECT 1 FROM nonces WHERE used_at IS NOT NULL")
    assert len(used) == 1 + 2  # and those of the deposit and the delegate


async def test_twenty_unsigned_requests_at_once_have_one_effect(front: Service) -> None:
    wallet = await funded(front)
    body = {"user_pubkey": str(wallet.pubkey())}
    replies: list[httpx.Response] = []

    async def ask() -> None:
        replies.append(await send(front, body, "one", "/api/vault/initialize"))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert len(await rows(front, "SELECT 1 FROM submissions")) == 1


async def test_a_refusal_by_the_program_is_replayed_too(front: Service) -> None:
    wallet = await with_vault(front)
    body = await signed(front, wallet, "withdraw", ("amount", 1))
    first, again = await send(front, body, "one"), await send(front, body, "one")
    assert (first.status_code, first.json()["code"]) == (422, "program_error")
    assert again.content == first.content
    assert again.headers["Content-Type"] == "application/problem+json"


async def test_a_transaction_is_submitted_once_under_its_key(front: Service) -> None:
    wallet = await funded(front)
    one = cosigned(wallet, await initialize(front, wallet))
    route = "/api/transactions"
    first, again = await send(front, one, "one", route), await send(front, one, "one", route)
    assert (first.status_code, again.content) == (202, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = cosigned(wallet, await initialize(front, wallet))
    reply = await send(front, other, "one", route)
    assert (reply.status_code, reply.json()["code"]) == (409, "idempotency_key_reused")
    pending = await rows(front, "SELECT 1 FROM submissions WHERE state = 'pending'")
    assert len(pending) == 1


async def test_what_had_no_effect_claims_no_key(front: Service) -> None:
    wallet = await with_vault(front, amount=10 * USDT, delegate=True)
    body = await signed(front, wallet, "withdraw", ("amount", 1 * USDT))
    forged = body | {"signature": str(Keypair().sign_message(b"something else"))}
    assert (await send(front, forged, "one")).status_code == 401
    assert (await send(front, body, "one")).status_code == 202


async def test_owners_do_not_share_keys(front: Service) -> None:
    for _ in range(2):
        wallet = await funded(front)
        reply = await send(
            front, {"user_pubkey": str(wallet.pubkey())}, "one", "/api/vault/initialize"
        )
        assert "Idempotency-Replayed" not in reply.headers
        assert reply.json()["transaction"] != (await initialize(front, wallet)).json()


async def test_a_request_that_nobody_signed_claims_no_key_of_the_owner(front: Service) -> None:
    wallet = await funded(front)
    body = {"user_pubkey": str(wallet.pubkey())}
    created = await send(front, body, "one", "/api/vault/initialize")
    await sent(front, wallet, created)
    deposit = await signed(front, wallet, "deposit", ("amount", 1 * USDT))
    reply = await send(front, deposit, "one", "/api/vault/deposit")
    assert (reply.status_code, reply.headers.get("Idempotency-Replayed")) == (200, None), reply.text
    again = await send(front, body, "one", "/api/vault/initialize")
    assert again.content == created.content
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_an_owner_claims_no_key_of_an_administrator(
    database_url: str, localnet: Localnet
) -> None:
    secret = b"s" * 32
    async with running(database_url, **localnet.settings, admin_jwt_secret=secret) as front:
        wallet = await with_vault(front, amount=10 * USDT, delegate=True)
        owner = str(wallet.pubkey())
        body = await signed(front, wallet, "withdraw", ("amount", 1 * USDT))
        assert (await send(front, body, "one")).status_code == 202
        token = mint(secret, subject="carol", role=Role.ADMIN, seconds=60)
        reply = await front.http.post(
            f"{front.url}/api/vault/emergency-withdraw",
            json={"owner": owner, "amount": 1, "reason": "test"},
            headers={"Idempotency-Key": "one", "Authorization": f"Bearer {token}"},
        )
        assert reply.status_code == 202, reply.text


@pytest.mark.parametrize("key", ["", "with space", "x" * 129, "ü"])
async def test_a_key_is_short_visible_ascii(front: Service, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode()}
    body = {"user_pubkey": str(Keypair().pubkey())}
    reply = await front.http.post(f"{front.url}/api/vault/initialize", json=body, headers=headers)
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["path"] == "Idempotency-Key"
